package natsx

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/failpoint"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// AckWait is how long a provisioner may be silent about a command before
// another gets it. A command that is caught in two deaths, one after the other,
// still has half of its deadline then (ADR 12).
const AckWait = 2 * time.Second

// activityMaxAge is how long the bucket of activity keeps an entry: longer than
// any sandbox may stay idle, so that one that is gone cannot be missed.
const activityMaxAge = (sandbox.MaxIdle + 24*60*60) * time.Second

// firstSequence makes sequences that are above all of an earlier stream of the
// same name: a fence or a revision from before a wipe never fits after it.
func firstSequence() uint64 { return uint64(time.Now().UnixMicro()) }

// EnsureCommands makes the command queue, its one consumer and the dead letter
// stream, or brings them to this form.
func (c *Conn) EnsureCommands(ctx context.Context) (jetstream.Consumer, error) {
	err := c.ensureStream(ctx, jetstream.StreamConfig{
		Name: contract.CommandStream, Subjects: []string{contract.AllCommands},
		Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew,
		MaxMsgs: 100_000, MaxBytes: 4 << 30, MaxMsgSize: contract.MaxMessage, MaxAge: time.Hour,
		Duplicates: 2 * time.Minute,
	})
	if err != nil {
		return nil, err
	}
	err = c.ensureStream(ctx, jetstream.StreamConfig{
		Name: contract.DeadStream, Subjects: []string{contract.AllDeadLetters},
		Discard: jetstream.DiscardOld, MaxMsgs: 10_000, MaxMsgSize: 64 << 10, MaxAge: 7 * 24 * time.Hour,
	})
	if err != nil {
		return nil, err
	}
	cons, err := c.JS.CreateOrUpdateConsumer(ctx, contract.CommandStream, jetstream.ConsumerConfig{
		Durable: contract.CommandConsumer, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: AckWait,
		// Not the server's limit but the provisioner ends a poisonous command:
		// past the server's the message would stay in the queue for ever.
		MaxDeliver: -1, MaxAckPending: 10_000,
	})
	if err = failpoint.After(ctx, "natsx/after-consumer", err); err != nil {
		return nil, fmt.Errorf("make the consumer of %s: %w", contract.CommandStream, err)
	}
	return cons, nil
}

// EnsureViews makes the streams that the watcher owns: views, activity, events.
func (c *Conn) EnsureViews(ctx context.Context) error {
	bucket := func(name, stream string, maxAge time.Duration) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name: stream, Subjects: []string{"$KV." + name + ".>"},
			MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, MaxMsgSize: contract.MaxMessage, MaxAge: maxAge,
			AllowRollup: true, DenyDelete: true,
			// A direct get may be answered by a replica that is behind.
			AllowDirect: false,
			AllowMsgTTL: true, SubjectDeleteMarkerTTL: time.Hour,
			Duplicates: 2 * time.Minute,
		}
	}
	if err := c.ensureStream(ctx, bucket(contract.ViewBucket, contract.ViewStream, 0)); err != nil {
		return err
	}
	if err := c.ensureStream(ctx, bucket(contract.ActivityBucket, contract.ActivityStream, activityMaxAge)); err != nil {
		return err
	}
	return c.ensureStream(ctx, jetstream.StreamConfig{
		Name: contract.EventStream, Subjects: []string{contract.AllEvents},
		Discard: jetstream.DiscardOld, MaxAge: 7 * 24 * time.Hour, MaxMsgs: 5_000_000, MaxBytes: 4 << 30,
		MaxMsgSize: 64 << 10, Duplicates: 2 * time.Minute,
	})
}

// ensureStream creates the stream, or updates one that is there.
func (c *Conn) ensureStream(ctx context.Context, cfg jetstream.StreamConfig) error {
	cfg.Storage, cfg.Replicas, cfg.FirstSeq = jetstream.FileStorage, c.Replicas, firstSequence()
	_, err := c.JS.CreateStream(ctx, cfg)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		var s jetstream.Stream
		if s, err = c.JS.Stream(ctx, cfg.Name); err == nil {
			cfg.FirstSeq = s.CachedInfo().Config.FirstSeq // cannot be changed
			_, err = c.JS.UpdateStream(ctx, cfg)
		}
	}
	if err = failpoint.After(ctx, "natsx/after-stream", err); err != nil {
		return fmt.Errorf("make stream %s: %w", cfg.Name, err)
	}
	return nil
}
