package natsx_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/natsx/natstest"
)

// Whoever follows a bucket looks at it as soon as NATS is back, not with the next
// look, which is an hour away here.
func TestAFollowerLooksWhenNATSIsBack(t *testing.T) {
	t.Parallel()
	for name, turn := range map[string]struct {
		away func(*testing.T, *natstest.Server, *natsx.Conn)
		long time.Duration
		want string
	}{
		"the same server after hours": {func(t *testing.T, _ *natstest.Server, c *natsx.Conn) {
			if err := c.ForceReconnect(); err != nil {
				t.Fatal(err)
			}
		}, 3 * time.Hour, "NATS was away for so long that deletions may have been missed"},
		"the same server without the bucket": {func(t *testing.T, _ *natstest.Server, c *natsx.Conn) {
			if err := c.JS.DeleteStream(t.Context(), contract.ViewStream); err != nil {
				t.Fatal(err)
			}
			if err := natstest.Again(t.Context(), c.EnsureViews); err != nil {
				t.Fatal(err)
			}
			if err := c.ForceReconnect(); err != nil {
				t.Fatal(err)
			}
		}, 0, "the bucket was made anew"},
		"another server": {func(_ *testing.T, s *natstest.Server, _ *natsx.Conn) { s.Stop(); s.Start() }, 0, "the watch was at another server"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := natstest.Start(t, server.Options{})
			c := connect(t, s.ClientURL())
			if err := c.EnsureViews(t.Context()); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			var passed atomic.Int64
			loaded, ended := make(chan struct{}), make(chan error, 1)
			f := natsx.Follower{
				Bucket: contract.ViewBucket, CheckEvery: time.Hour, SilentAfter: 10 * time.Hour,
				Now:   func() time.Time { return time.Now().Add(time.Duration(passed.Load())) },
				Begin: func(time.Time, uint64) {},
				Take: func(e jetstream.KeyValueEntry) {
					if e == nil {
						close(loaded)
					}
				},
				Away: func(err error) error { return err },
			}
			go func() { ended <- f.Run(ctx, c.JS) }()
			select {
			case <-loaded:
			case err := <-ended:
				t.Fatal(err)
			}
			passed.Store(int64(turn.long))
			turn.away(t, s, c)
			if err := <-ended; err == nil || err.Error() != turn.want {
				t.Errorf("it ends with %v, want %q", err, turn.want)
			}
		})
	}
}
