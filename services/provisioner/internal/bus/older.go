package bus

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/command"
)

// What the stream gave out it gives out no more. Where its last sequence is below
// one that a record's fence names, or that was seen here, its store is an older
// one: all new commands would count as overtaken until it has caught up. So it is
// made to go on above (ADR 20).

// errOlder: what overtook a command is not in the stream's past.
var errOlder = errors.New("the command stream is behind what it was")

// lookEvery is how often the stream is looked at, besides after each reconnection.
const lookEvery = time.Second

// lookOut looks until ctx ends.
func (b *Bus) lookOut(ctx context.Context) {
	reconnected, stop := natsx.Reconnected(b.conn.Conn)
	defer stop()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	doubts := 0
	for {
		doubts = b.look(ctx, doubts)
		select {
		case <-reconnected:
			b.first.look(ctx, b.conn)
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// look compares the stream with what it was, and returns how often in a row it was
// behind that.
func (b *Bus) look(ctx context.Context, doubts int) int {
	given := b.given.Load() // before the stream is asked
	last, ok := b.last(ctx)
	switch {
	case !ok:
		return doubts
	case last >= given:
		b.gave(last)
		return 0
	// Of several servers one that does not lead any more, and does not know it
	// yet, may have said so.
	case b.conn.Replicas > 1 && doubts == 0:
		return 1
	}
	b.skip(ctx, given)
	return doubts + 1
}

// gave notes that the stream gave out a sequence.
func (b *Bus) gave(sequence uint64) {
	for {
		given := b.given.Load()
		if sequence <= given || b.given.CompareAndSwap(given, sequence) {
			return
		}
	}
}

// last is the last sequence of the stream; false: it does not say.
func (b *Bus) last(ctx context.Context) (uint64, bool) {
	if !b.conn.IsConnected() {
		return 0, false
	}
	ctx, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	s, err := natsx.Stream(ctx, b.conn.JS, contract.CommandStream)
	if err != nil {
		return 0, false // what is wrong, the workers say
	}
	return s.CachedInfo().State.LastSeq, true
}

// older reports whether a record's fence, 0 for none, is no part of the stream's
// past.
func (b *Bus) older(ctx context.Context, fence uint64) bool {
	if fence == 0 {
		return false
	}
	last, ok := b.last(ctx)
	if !ok || last >= fence {
		return false
	}
	b.gave(fence) // the next look finds it too
	return true
}

// behind ends a command that was refused for a fence that is not of this stream.
// A start or resume is told that it was overtaken once the stream goes on above:
// its gateway sends it once more then. All else is told that nothing was done, where
// that is certain.
func (b *Bus) behind(ctx context.Context, f failure, out command.Outcome, log *zap.Logger) {
	if again := f.command.Verb == sandbox.Start || f.command.Verb == sandbox.Resume; !again {
		defer b.skip(ctx, out.Fence)
		b.drop(ctx, f, notNow(errOlder), log)
		return
	}
	if err := ack(ctx, f.message); err != nil {
		log.Warn("the ack may be lost", zap.Error(err))
	}
	b.skip(ctx, out.Fence)
	b.reply(ctx, f.message, f.command, out)
}

// drainTime is how long what stands in an older stream may take to be answered
// before it goes.
const drainTime = time.Second

// skip lets the stream go on above what it gave out, once what stands in it was
// worked on.
func (b *Bus) skip(ctx context.Context, given uint64) {
	b.drain(ctx)
	skipped, err := b.conn.SkipCommands(ctx, given)
	switch {
	case err != nil:
		b.log.Error("the command stream is behind what it was, and cannot be made to go on", zap.Error(err))
	case skipped:
		b.log.Warn("the command stream was behind what it was, it goes on above; what stood in it is gone", zap.Uint64("sequence", given))
	}
}

func (b *Bus) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	tick := time.NewTicker(drainTime / 20)
	defer tick.Stop()
	for {
		c, err := b.conn.JS.Consumer(ctx, contract.CommandStream, contract.CommandConsumer)
		if err == nil && c.CachedInfo().NumPending == 0 && c.CachedInfo().NumAckPending == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func notNow(err error) *sandbox.Error {
	return &sandbox.Error{
		Code: sandbox.CodeUnavailable, Message: "the command queue was restored, nothing was done, try again", Err: err, RetryAfter: time.Second,
	}
}
