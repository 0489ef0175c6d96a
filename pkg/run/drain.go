package run

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// lingerFor is how long a connection stays on which an answer ended that had not
// said that it is the last: its client may be about to use it again.
const lingerFor = UnreadyFor

// drainer asks the clients of a server that is about to end to come by another
// connection, and waits for those that do not know it yet. http.Server's own
// Shutdown closes each connection as soon as its answer is out, and takes with it
// the request that a client has sent on it meanwhile.
type drainer struct {
	next    http.Handler
	leaving atomic.Bool

	mu   sync.Mutex
	open int       // requests under way
	last time.Time // when one ended
}

func (d *drainer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// An upgraded connection is its handler's own, the answer's Connection too, and
	// lasts as long as it will.
	if r.Header.Get("Upgrade") != "" {
		d.next.ServeHTTP(w, r)
		return
	}
	if r.ProtoMajor == 1 { // Shutdown tells a client of HTTP/2, and lets it finish
		d.count(1)
		defer d.count(-1)
	}
	if d.leaving.Load() {
		w.Header().Set("Connection", "close") // over HTTP/2: no new streams
	}
	d.next.ServeHTTP(w, r)
}

func (d *drainer) count(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open += n
	if n < 0 {
		d.last = time.Now()
	}
}

func (d *drainer) drained() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open == 0 && time.Since(d.last) > lingerFor
}

// drain returns when no request is under way and none has ended a short time ago,
// or when ctx ends.
func (d *drainer) drain(ctx context.Context) {
	tick := time.NewTicker(lingerFor / 20)
	defer tick.Stop()
	for !d.drained() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
