package bus

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
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
	s, err := b.conn.JS.Stream(ctx, contract.CommandStream)
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
	return ok && last < fence
}

// skip lets the stream go on above what it gave out.
func (b *Bus) skip(ctx context.Context, given uint64) {
	skipped, err := b.conn.SkipCommands(ctx, given)
	switch {
	case err != nil:
		b.log.Error("the command stream is behind what it was, and cannot be made to go on", zap.Error(err))
	case skipped:
		b.log.Warn("the command stream was behind what it was, it goes on above; what stood in it is gone", zap.Uint64("sequence", given))
	}
}

func notNow(err error) *sandbox.Error {
	return &sandbox.Error{
		Code: sandbox.CodeUnavailable, Message: "the command queue was restored, nothing was done, try again", Err: err, RetryAfter: time.Second,
	}
}
