package bucket

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/failpoint"
)

const (
	// perKey spreads a resync: a few keys are looked at at once, ten thousand in
	// half a minute.
	perKey = 3 * time.Millisecond
	// keysTimeout bounds one listing of the bucket's keys.
	keysTimeout = 30 * time.Second
)

// fill makes the full pass after which the bucket is complete. Its lists are
// younger than the bucket, so a sandbox that they do not show has none of its
// life before the bucket. They are younger than the look at the keys too: what these
// do not have and the lists do need not be looked for one by one.
func (g *Guard) fill(ctx context.Context, s *session, done chan<- struct{}) {
	for {
		start := time.Now()
		present, err := g.keys(ctx) // those that were deleted too: their revision is not none
		if err == nil {
			err = g.Records.Refresh(ctx)
		}
		if err == nil {
			keys := g.Records.Keys()
			if err = g.Observer.Pass(ctx, s.created, keys, present); err == nil {
				failpoint.Hit(ctx, "watcher/before-complete")
				close(done)
				s.complete.Store(true)
				select {
				case g.wake <- struct{}{}: // the heartbeat says so
				default:
				}
				g.Log.Info("the bucket is complete", zap.Int("sandboxes", len(keys)), zap.Duration("took", time.Since(start)))
				return
			}
		}
		if ctx.Err() == nil {
			g.Log.Warn("the full pass failed and is begun again", zap.Error(err))
		}
		if !wait(ctx, retryEvery) {
			return
		}
	}
}

// follow tells the observer of what is written to the bucket.
func (g *Guard) follow(ctx context.Context) {
	for {
		err := g.watch(ctx)
		if ctx.Err() != nil {
			return
		}
		g.Log.Warn("the watch of the bucket is made again", zap.Error(err))
		if !wait(ctx, retryEvery) {
			return
		}
	}
}

func (g *Guard) watch(ctx context.Context) error {
	kv, err := g.JS.KeyValue(ctx, contract.ViewBucket)
	if err != nil {
		return fmt.Errorf("open the bucket: %w", err)
	}
	// What is there already comes too, so that no write falls between a listing
	// and the watch.
	w, err := kv.WatchAll(ctx, jetstream.MetaOnly())
	if err != nil {
		return fmt.Errorf("watch the bucket: %w", err)
	}
	defer func() { _ = w.Stop() }() // the connection may be gone
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-w.Updates():
			if !ok {
				return errors.New("the watch ended")
			}
			if e != nil {
				g.Observer.Foreign(e.Key(), e.Revision(), e.Operation() != jetstream.KeyValuePut)
			}
		}
	}
}

// resync compares all keys with all records every Resync, for the first time when the
// full pass is done.
func (g *Guard) resync(ctx context.Context, filled <-chan struct{}) {
	select {
	case <-filled:
	case <-time.After(g.Resync): // or cannot be done
	case <-ctx.Done():
		return
	}
	for {
		if err := g.compare(ctx); err != nil && ctx.Err() == nil {
			g.Log.Warn("the keys cannot be compared with the records", zap.Error(err))
		}
		if !wait(ctx, g.Resync) {
			return
		}
	}
}

func (g *Guard) compare(ctx context.Context) error {
	err := g.Records.ListObjects(ctx)
	all, failed := g.keys(ctx, jetstream.IgnoreDeletes())
	for _, key := range g.Records.Keys() {
		all[key] = struct{}{}
	}
	delete(all, contract.HeartbeatKey)
	list := slices.Collect(maps.Keys(all))
	g.Observer.EnqueueAll(list, min(g.Resync/2, time.Duration(len(list))*perKey))
	return errors.Join(err, failed)
}

// keys lists the keys of the bucket; what came before an error is returned too.
func (g *Guard) keys(ctx context.Context, opts ...jetstream.WatchOpt) (map[string]struct{}, error) {
	ctx, cancel := context.WithTimeout(ctx, keysTimeout)
	defer cancel()
	out := map[string]struct{}{}
	kv, err := g.JS.KeyValue(ctx, contract.ViewBucket)
	if err != nil {
		return out, fmt.Errorf("open the bucket: %w", err)
	}
	w, err := kv.WatchAll(ctx, append(opts, jetstream.MetaOnly())...)
	if err != nil {
		return out, fmt.Errorf("list the keys: %w", err)
	}
	defer func() { _ = w.Stop() }() // the connection may be gone
	for {
		select {
		case <-ctx.Done():
			return out, fmt.Errorf("list the keys: %w", ctx.Err())
		case e, ok := <-w.Updates():
			if !ok {
				return out, errors.New("list the keys: the watch ended")
			}
			if e == nil {
				return out, nil
			}
			out[e.Key()] = struct{}{}
		}
	}
}
