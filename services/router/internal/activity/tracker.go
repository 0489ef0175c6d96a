// Package activity remembers when bytes last passed to or from each sandbox, and
// reports it.
package activity

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// resolution is how exact the time of a stream's last byte is: each byte counts,
// but a busy stream writes the shared time only so often.
const resolution = time.Second

// Tracker holds one entry for each sandbox that traffic passed to. Its methods
// may be called concurrently.
type Tracker struct {
	mu      sync.Mutex
	entries map[string]*entry // by runtime id: a new sandbox of a session is another one
}

type entry struct {
	key, runtimeID string
	open           int          // exchanges under way; guarded by Tracker.mu
	last           atomic.Int64 // of the last byte, in Unix nanoseconds

	// Of the reporting goroutine alone.
	reported   int64     // the last that the bucket holds
	reportedAt time.Time // when it was written
}

// NewTracker returns an empty one.
func NewTracker() *Tracker { return &Tracker{entries: map[string]*entry{}} }

// Exchange is one request to a sandbox, from its first byte to its last. The zero
// Exchange is one that does not count.
type Exchange struct {
	t *Tracker
	e *entry
}

// Begin says that a request to the sandbox began. The exchange must be ended.
func (t *Tracker) Begin(v *sandbox.View) Exchange {
	t.mu.Lock()
	e := t.entries[v.RuntimeID]
	if e == nil {
		e = &entry{key: contract.ViewKey(v.Tenant, v.Record), runtimeID: v.RuntimeID}
		t.entries[v.RuntimeID] = e
	}
	e.open++
	t.mu.Unlock()
	e.last.Store(time.Now().UnixNano())
	return Exchange{t, e}
}

// Touch says that a byte passed. It is cheap enough for every read and write.
func (x Exchange) Touch() {
	if x.e == nil {
		return
	}
	now := time.Now().UnixNano()
	if now-x.e.last.Load() >= int64(resolution) {
		x.e.last.Store(now)
	}
}

// End says that the exchange is over.
func (x Exchange) End() {
	if x.e == nil {
		return
	}
	x.e.last.Store(time.Now().UnixNano())
	x.t.mu.Lock()
	x.e.open--
	x.t.mu.Unlock()
}

// Len is the number of sandboxes that are remembered.
func (t *Tracker) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.entries)
}

// due lists the entries that have something new to tell. Those of sandboxes that
// are gone, with no exchange under way, are forgotten.
func (t *Tracker) due(known func(runtimeID string) bool, every time.Duration, now time.Time) []*entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []*entry
	for id, e := range t.entries {
		switch {
		case !known(id):
			if e.open == 0 {
				delete(t.entries, id)
			}
		case e.last.Load() > e.reported && now.Sub(e.reportedAt) >= every:
			out = append(out, e)
		}
	}
	return out
}
