package natsx

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Follower follows one creation of a bucket. A watch of a bucket that was made
// anew or came back from an older store, or whose consumer is gone, stays silent
// without an error: creation time and last sequence are looked at beside it.
type Follower struct {
	Bucket string
	// CheckEvery is how often they are looked at. SilentAfter is how long the watch
	// may bring nothing while the bucket holds what it has not brought.
	CheckEvery, SilentAfter time.Duration
	Now                     func() time.Time

	// Begin is told of the creation and its last sequence before anything comes.
	Begin func(created time.Time, last uint64)
	// Take gets what the bucket holds, nil when all that was there has come, and
	// then what is written.
	Take func(jetstream.KeyValueEntry)
	// Away is told of a look that failed though the bucket may be there; an error
	// ends the following, nil goes on.
	Away func(error) error
}

// longAway is for how long a follower may hear nothing of NATS and go on where it was.
// The markers of what was deleted meanwhile stay for an hour in the buckets here; whoever missed
// one would show for ever what is gone.
const longAway = time.Minute

// Run follows until ctx ends or the following has come to its end, and returns
// why.
func (f Follower) Run(ctx context.Context, js jetstream.JetStream) error {
	created, last, err := BucketState(ctx, js, f.Bucket)
	if err != nil {
		return err
	}
	kv, err := js.KeyValue(ctx, f.Bucket)
	if err != nil {
		return fmt.Errorf("open the bucket %s: %w", f.Bucket, err)
	}
	w, err := kv.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("watch the bucket %s: %w", f.Bucket, err)
	}
	defer func() { _ = w.Stop() }() // the connection may be gone
	nc := js.Conn()
	reconnected, stop := Reconnected(nc)
	defer stop()
	server := nc.ConnectedServerId()
	f.Begin(created, last)
	tick := time.NewTicker(f.CheckEvery)
	defer tick.Stop()
	heard, loaded := f.Now(), false
	position, due := last, last // due: what the watch must have brought by the next check
	had := last                 // what it had brought by the last one
	there := f.Now()            // when the bucket was last seen
	check := func() error {
		now, last, err := BucketState(ctx, js, f.Bucket)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			return err
		case err != nil:
			if err := f.Away(err); err != nil {
				return err
			}
			heard = f.Now() // nothing can be heard while NATS is away
		case !now.Equal(created):
			return errors.New("the bucket was made anew")
		case last < had:
			return errors.New("the bucket is behind what came of it")
		case f.Now().Sub(there) > max(longAway, 2*f.CheckEvery):
			return errors.New("NATS was away for so long that deletions may have been missed")
		case f.Now().Sub(heard) > f.SilentAfter && (!loaded || due > position):
			return errors.New("the watch is silent")
		default:
			there = f.Now()
		}
		due, had = last, position
		return nil
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-w.Updates():
			if !ok {
				return errors.New("the watch ended")
			}
			heard = f.Now()
			if e == nil {
				loaded = true
			} else {
				position = max(position, e.Revision())
			}
			f.Take(e)
		case <-reconnected:
			// With a server goes the consumer of a watch, at the latest when it ends.
			if id := nc.ConnectedServerId(); id != "" && id != server {
				return errors.New("the watch was at another server")
			}
			// The same server may have come back without the bucket.
			if err := check(); err != nil {
				return err
			}
		case <-tick.C:
			if err := check(); err != nil {
				return err
			}
		}
	}
}

// BucketState asks the leader for the creation time and the last sequence of a
// bucket's stream.
func BucketState(ctx context.Context, js jetstream.JetStream, bucket string) (created time.Time, last uint64, err error) {
	s, err := Stream(ctx, js, "KV_"+bucket)
	if err != nil {
		return time.Time{}, 0, fmt.Errorf("ask for the state of the bucket %s: %w", bucket, err)
	}
	info := s.CachedInfo()
	return info.Created, info.State.LastSeq, nil
}
