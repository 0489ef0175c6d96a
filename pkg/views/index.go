package views

import (
	"context"
	"sync"
	"time"
)

// indexer coalesces questions for the bucket's last sequence: all that arrive
// while one is under way share the next. One that is already under way cannot
// serve a later caller: its answer may be older than the call.
type indexer struct {
	ask func(context.Context) (created time.Time, last uint64, err error)

	mu      sync.Mutex
	busy    bool
	waiting *question
}

type question struct {
	done    chan struct{}
	created time.Time
	last    uint64
	err     error
}

func (i *indexer) get(ctx context.Context) (*question, error) {
	i.mu.Lock()
	q := i.waiting
	if q == nil {
		q = &question{done: make(chan struct{})}
		if i.busy {
			i.waiting = q
		} else {
			i.busy = true
			go i.run(q)
		}
	}
	i.mu.Unlock()
	select {
	case <-q.done:
		return q, q.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// run answers q, and then whoever came meanwhile. It ends when nobody waits; the
// question is not bound to the context of one of its askers.
func (i *indexer) run(q *question) {
	for q != nil {
		ctx, cancel := context.WithTimeout(context.Background(), ReadIndexTimeout)
		q.created, q.last, q.err = i.ask(ctx)
		cancel()
		close(q.done)
		i.mu.Lock()
		q, i.waiting = i.waiting, nil
		i.busy = q != nil
		i.mu.Unlock()
	}
}
