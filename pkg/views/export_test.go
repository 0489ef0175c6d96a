package views

import (
	"context"
	"time"
)

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
