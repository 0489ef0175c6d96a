package views

import (
	"context"
	"time"
)

// SetNow gives a follower that does not run yet another clock.
func (f *Follower) SetNow(now func() time.Time) { f.now = now }

// NewIndexer makes the question that callers of a read index share.
func NewIndexer(ask func(context.Context) (time.Time, uint64, error)) func(context.Context) (time.Time, uint64, error) {
	i := &indexer{ask: ask}
	return func(ctx context.Context) (time.Time, uint64, error) {
		q, err := i.get(ctx)
		if err != nil {
			return time.Time{}, 0, err
		}
		return q.created, q.last, nil
	}
}

// NewIndexerBeside makes the same, and what notes a sequence that the watch brought.
func NewIndexerBeside(ask func(context.Context) (time.Time, uint64, error)) (get func(context.Context) error, seen func(time.Time, uint64)) {
	i := &indexer{ask: ask}
	return func(ctx context.Context) error { _, err := i.get(ctx); return err }, i.seen
}
