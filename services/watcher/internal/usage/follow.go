package usage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
)

const (
	// checkEvery is how often it is looked whether the bucket is still the one
	// that is watched: the watch of one that is gone stays silent.
	checkEvery = 2 * time.Second
	// silentAfter is how long the watch may lag behind the bucket.
	silentAfter = 5 * time.Second
	retryEvery  = time.Second
)

// Follow keeps the book up to date until ctx ends.
func (b *Book) Follow(ctx context.Context, js jetstream.JetStream, log *zap.Logger) {
	told := ""
	for {
		err := b.session(ctx, js, log)
		b.know(false)
		if ctx.Err() != nil {
			return
		}
		if text := err.Error(); text != told { // not once a second while NATS is away
			log.Info("the activity of sandboxes is followed anew, nobody counts as idle till then", zap.Error(err))
			told = text
		}
		t := time.NewTimer(retryEvery)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// session follows one creation of the bucket, and returns why it does not any
// more.
func (b *Book) session(ctx context.Context, js jetstream.JetStream, log *zap.Logger) error {
	created, last, err := state(ctx, js)
	if err != nil {
		return err
	}
	kv, err := js.KeyValue(ctx, contract.ActivityBucket)
	if err != nil {
		return fmt.Errorf("open the activity bucket: %w", err)
	}
	w, err := kv.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("watch the activity bucket: %w", err)
	}
	defer func() { _ = w.Stop() }() // the connection may be gone
	b.open(created)
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	heard, loaded := b.now(), false
	position, due := last, last // due: what the watch must have brought by the next check
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-w.Updates():
			if !ok {
				return errors.New("the watch ended")
			}
			heard = b.now()
			if e == nil {
				loaded = true
				b.know(true)
				continue
			}
			position = max(position, e.Revision())
			b.apply(e, loaded, log)
		case <-tick.C:
			now, last, err := state(ctx, js)
			switch {
			case err != nil:
				return err
			case !now.Equal(created):
				return errors.New("the bucket was made anew")
			case b.now().Sub(heard) > silentAfter && (!loaded || due > position):
				return errors.New("the watch is silent")
			}
			due = last
		}
	}
}

func (b *Book) apply(e jetstream.KeyValueEntry, live bool, log *zap.Logger) {
	if e.Operation() != jetstream.KeyValuePut {
		b.drop(e.Key())
		return
	}
	if err := b.take(e.Key(), e.Value(), live); err != nil {
		log.Warn("an activity cannot be read", zap.String("key", e.Key()), zap.Error(err))
	}
}

func state(ctx context.Context, js jetstream.JetStream) (created time.Time, last uint64, err error) {
	s, err := js.Stream(ctx, contract.ActivityStream)
	if err != nil {
		return time.Time{}, 0, fmt.Errorf("look at the activity bucket: %w", err)
	}
	info := s.CachedInfo()
	return info.Created, info.State.LastSeq, nil
}
