package natsx

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sandbar-io/sandbar/pkg/contract"
)

// skipStep: all who let a stream go on within it mean the same sequence, so that
// the second finds nothing to take away.
const skipStep = 10 * time.Second

// skipTo is a sequence above all that a stream can have given out: they begin at
// unix time in microseconds, and no stream takes a million messages a second.
func skipTo(now time.Time) uint64 {
	return uint64(now.Truncate(skipStep).Add(skipStep).UnixMicro())
}

// SkipCommands lets the command stream go on above all sequences that it ever
// gave out, if it is behind one that it did: its store is an older one (ADR 20).
// It reports whether it was. What stands in the stream goes: nobody can tell what
// of it was carried out already.
func (c *Conn) SkipCommands(ctx context.Context, given uint64) (bool, error) {
	s, err := Stream(ctx, c.JS, contract.CommandStream)
	if err != nil {
		return false, fmt.Errorf("look at the command stream: %w", err)
	}
	if s.CachedInfo().State.LastSeq >= given {
		return false, nil
	}
	to := max(skipTo(time.Now()), given+1)
	if err := s.Purge(ctx, jetstream.WithPurgeSequence(to)); err != nil {
		return false, fmt.Errorf("let the command stream go on at %d: %w", to, err)
	}
	return true, nil
}

// RemakeViews makes the bucket of views anew, empty. Readers keep what they have
// until the new one is complete.
func (c *Conn) RemakeViews(ctx context.Context) error {
	if err := c.JS.DeleteStream(ctx, contract.ViewStream); err != nil {
		return fmt.Errorf("remove the bucket: %w", err)
	}
	return c.EnsureViews(ctx)
}

// Reconnected tells of each reconnection until stop. Two that come close to each
// other may be told once.
func Reconnected(nc *nats.Conn) (told <-chan nats.Status, stop func()) {
	ch := nc.StatusChanged(nats.CONNECTED)
	return ch, func() { nc.RemoveStatusListener(ch) }
}
