package bus_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/bus"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/command"
)

// A provisioner that lost its server again and again, without a word of farewell,
// leaves no subscription behind for each loss.
func TestReconnectsLeaveNoSubscriptions(t *testing.T) {
	t.Parallel()
	const workers, losses = 8, 6
	w := newWorld(t)
	l, conn := w.connectByLine()
	if _, err := conn.EnsureCommands(t.Context()); err != nil { // makes what all requests share
		t.Fatal(err)
	}
	before := conn.NumSubscriptions()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b := bus.New(conn, newRunner(done), workers, zap.NewNop())
	ended := make(chan error)
	go func() { ended <- b.Run(ctx) }()
	// All of them: one that is about to ask when the connection goes leaves a subscription
	// (below), and after a reconnection all are about to.
	working := func() bool { return b.Ready() && w.consumer().NumWaiting == workers }
	w.until("workers to wait", working)
	for range losses {
		l.cut()
		w.until("the loss to be felt", func() bool { return !conn.IsConnected() && !b.Ready() })
		l.mend()
		w.until("workers to wait again", working)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	// A request that is sent in the very moment in which the connection goes leaves one
	// all the same: on a machine that is busy it may be each second loss, not each.
	w.until("its subscriptions to end", func() bool { return conn.NumSubscriptions()-before <= losses/2 })
}

// Who works on a command while the connection goes keeps the others from nothing: once
// it is back they take commands, and what was begun is finished.
func TestWhoIsBusyKeepsNobodyFromTheQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l, conn := w.connectByLine()
	release := make(chan struct{})
	r := newRunner(func(ctx context.Context, c sandbox.Command) (command.Outcome, error) {
		if c.SessionID == "slow" {
			<-release
		}
		return done(ctx, c)
	})
	ctx, cancel := context.WithCancel(t.Context())
	b := bus.New(conn, r, 3, zap.NewNop())
	ended := make(chan error)
	go func() { ended <- b.Run(ctx) }()
	defer func() {
		close(release)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
	}()
	w.until("workers to wait", b.Ready)
	w.send("slow")
	wait(t, "the slow command", r.told)
	l.cut()
	w.until("the loss to be felt", func() bool { return !conn.IsConnected() && !b.Ready() })
	l.mend()
	w.send("next")
	for { // the slow one may come a second time before it
		if got := wait(t, "the next command", r.told); got.command.SessionID == "next" {
			return
		}
	}
}

// line is a TCP connection to a server that can be cut.
type line struct {
	t      *testing.T
	to, at string

	mu    sync.Mutex
	open  []io.Closer
	ended sync.WaitGroup
}

// connectByLine connects over a line of its own.
func (w *world) connectByLine() (*line, *natsx.Conn) {
	w.t.Helper()
	l := &line{t: w.t, to: w.srv.Addr().String()}
	l.mend()
	w.t.Cleanup(l.cut)
	conn, err := natsx.Connect("test", natsx.Config{URL: "nats://" + l.at, Replicas: 1}, zap.NewNop())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(conn.Close)
	return l, conn
}

func (l *line) mend() {
	l.t.Helper()
	address := l.at
	if address == "" {
		address = "127.0.0.1:0"
	}
	in, err := net.Listen("tcp", address)
	if err != nil {
		l.t.Fatal(err)
	}
	l.at = in.Addr().String()
	l.keep(in)
	l.ended.Go(func() {
		for {
			c, err := in.Accept()
			if err != nil {
				return
			}
			s, err := net.DialTimeout("tcp", l.to, time.Second)
			if err != nil {
				_ = c.Close()
				continue
			}
			l.keep(c, s)
			l.ended.Go(func() { _, _ = io.Copy(s, c); _ = s.Close() })
			l.ended.Go(func() { _, _ = io.Copy(c, s); _ = c.Close() })
		}
	})
}

func (l *line) keep(c ...io.Closer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = append(l.open, c...)
}

func (l *line) cut() {
	l.mu.Lock()
	for _, c := range l.open {
		_ = c.Close()
	}
	l.open = nil
	l.mu.Unlock()
	l.ended.Wait()
}
