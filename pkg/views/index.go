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

	at      time.Time // the creation of the bucket that highest is of
	highest uint64    // the last sequence that it had
}

// errBehind: its store is an older one, and memory is no part of its past.
var errBehind = errors.New("the bucket is behind what it was")

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
		if q.err == nil {
			q.err = i.compare(q)
		}
		close(q.done)
		i.mu.Lock()
		q, i.waiting = i.waiting, nil
		i.busy = q != nil
		i.mu.Unlock()
	}
}

// compare looks whether the bucket went on from where it was.
func (i *indexer) compare(q *question) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.at.Equal(q.created) && q.last < i.highest {
		return errBehind
	}
	i.at, i.highest = q.created, q.last
	return nil
}

// seen notes a sequence that the bucket has had, and returns the highest.
func (i *indexer) seen(created time.Time, last uint64) uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.at.Equal(created) || last > i.highest {
		i.at, i.highest = created, last
	}
	return i.highest
}
