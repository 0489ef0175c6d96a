package usage

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
)

const (
	checkEvery  = 2 * time.Second // see natsx.Follower
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
// more. While NATS is away traffic is not told: what is known is not all.
func (b *Book) session(ctx context.Context, js jetstream.JetStream, log *zap.Logger) error {
	loaded := false
	return natsx.Follower{
		Bucket: contract.ActivityBucket, CheckEvery: checkEvery, SilentAfter: silentAfter, Now: b.now,
		Begin: func(created time.Time, _ uint64) { b.open(created) },
		Take: func(e jetstream.KeyValueEntry) {
			if e == nil {
				loaded = true
				b.know(true)
				return
			}
			b.apply(e, loaded, log)
		},
		Away: func(err error) error { return err },
	}.Run(ctx, js)
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
