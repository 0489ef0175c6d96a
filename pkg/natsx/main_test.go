package natsx_test

import (
	"context"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/natsx/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come; the machine may be busy.
const patience = 30 * time.Second

// startServer starts an embedded server; port 0 is any.
func startServer(t *testing.T, opts server.Options) *server.Server {
	t.Helper()
	return natstest.Start(t, opts).Server
}

func portOf(t *testing.T, addr net.Addr) int {
	t.Helper()
	_, text, err := net.SplitHostPort(addr.String())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func connect(t *testing.T, url string) *natsx.Conn {
	t.Helper()
	c, err := natsx.Connect("test", natsx.Config{URL: url, Replicas: 1}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// until waits for a condition that nothing tells of.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited %v for: %s", patience, what)
		}
	}
}
