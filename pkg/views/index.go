package views

import (
	"context"
	"errors"
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

	reached reached
}

// errBehind: its store is an older one, and memory is no part of its past.
var errBehind = errors.New("the bucket is behind what it was")

// reached is how far one creation of the bucket is known to have been.
type reached struct {
	created time.Time
	last    uint64
}

// behind reports whether what the bucket says of itself is less than it was before
// it was asked. What came meanwhile does not count.
func (r reached) behind(created time.Time, last uint64) bool {
	return r.created.Equal(created) && last < r.last
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
		before := i.past()
		ctx, cancel := context.WithTimeout(context.Background(), ReadIndexTimeout)
		q.created, q.last, q.err = i.ask(ctx)
		cancel()
		switch {
		case q.err != nil:
		case before.behind(q.created, q.last):
			q.err = errBehind
		default:
			i.seen(q.created, q.last)
		}
		close(q.done)
		i.mu.Lock()
		q, i.waiting = i.waiting, nil
		i.busy = q != nil
		i.mu.Unlock()
	}
}

// past is how far the bucket was.
func (i *indexer) past() reached {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.reached
}

// seen notes a sequence that the bucket has had.
func (i *indexer) seen(created time.Time, last uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.reached.created.Equal(created) || last > i.reached.last {
		i.reached = reached{created, last}
	}
}
