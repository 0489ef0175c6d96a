package observer

import (
	"context"
	"time"
)

// Look does one look without the queue.
func (o *Observer) Look(ctx context.Context, key string) (time.Time, error) { return o.look(ctx, key) }

// Waiting is how many keys are in the queue.
func (o *Observer) Waiting() int { return o.queue.Len() }

// Close ends an observer that never ran.
func (o *Observer) Close() { o.queue.ShutDown() }
