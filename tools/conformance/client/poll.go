package client

import (
	"context"
	"fmt"
	"time"
)

// Poll looks until it is done, at once and then each every, for at most limit.
// Its error tells what was seen last.
func Poll(ctx context.Context, every, limit time.Duration, look func(context.Context) (seen string, done bool)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(every)
	defer tick.Stop()
	last := ""
	for {
		seen, done := look(ctx)
		if done {
			return nil
		}
		if ctx.Err() == nil || last == "" { // else it is only the error of the end itself
			last = seen
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s; last seen: %s", limit, last)
		case <-tick.C:
		}
	}
}
