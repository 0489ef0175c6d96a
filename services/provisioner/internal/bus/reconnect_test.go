package bus_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/services/provisioner/internal/bus"
)

// A provisioner that lost its server again and again holds no more subscriptions
// than one that never did: one for each worker that waits, and its own few.
func TestReconnectsLeaveNoSubscriptions(t *testing.T) {
	t.Parallel()
	const workers, own = 16, 4
	w := newWorld(t)
	conn := w.connect()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	b := bus.New(conn, newRunner(done), workers, zap.NewNop())
	go func() { defer close(ended); _ = b.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	w.until("workers to wait", func() bool { return b.Ready() && conn.NumSubscriptions() >= workers })
	for range 8 {
		w.shutdown()
		w.until("the loss to be seen", func() bool { return !conn.IsConnected() })
		time.Sleep(50 * time.Millisecond) // longer than it takes a worker to ask again
		w.start()
		w.until("the connection", conn.IsConnected)
		w.until("workers to wait again", func() bool { return b.Ready() })
	}
	w.until("what was under way to end", func() bool { return conn.NumSubscriptions() <= workers+own })
}
