package observer

import (
	"context"
	"sync"
	"time"

	"github.com/sandbar-io/sandbar/pkg/views"
)

// pass is a full pass over all records for one creation of the bucket.
type pass struct {
	created time.Time

	mu     sync.Mutex
	left   map[string]struct{}
	absent map[string]struct{} // from the bucket, before the records were listed
	done   chan struct{}
}

// Pass returns when each of the keys was looked at, from now on, and stands in
// the bucket of that creation time or has no record any more. present are the keys
// that this bucket had before the records were listed of which keys are.
func (o *Observer) Pass(ctx context.Context, created time.Time, keys []string, present map[string]struct{}) error {
	p := &pass{created: created, left: map[string]struct{}{}, absent: map[string]struct{}{}, done: make(chan struct{})}
	for _, key := range keys {
		p.left[key] = struct{}{}
		if _, ok := present[key]; !ok {
			p.absent[key] = struct{}{}
		}
	}
	if len(keys) == 0 {
		close(p.done)
	}
	o.mu.Lock()
	o.pass = p
	o.mu.Unlock()
	for _, key := range keys {
		o.Enqueue(key)
	}
	select {
	case <-p.done:
		o.meter.Passes.Inc()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// present is the pass that a look which begins now counts for.
func (o *Observer) present() *pass {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.pass
}

// vacant says that the bucket held nothing under the key before the records were
// listed, nil where that is not known. It says so once, and of a key under which
// this observer has seen something since it must not be asked: the bucket could have
// been made anew by then, and what is written would count as its sandbox' first view.
func (p *pass) vacant(key string) *views.Present {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.absent[key]; !ok {
		return nil
	}
	delete(p.absent, key)
	return &views.Present{Created: p.created}
}

func (p *pass) settle(key string, created time.Time) {
	if p == nil || !created.Equal(p.created) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.left[key]; !ok {
		return
	}
	delete(p.left, key)
	if len(p.left) == 0 {
		close(p.done)
	}
}
