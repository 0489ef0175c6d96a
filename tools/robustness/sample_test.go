package robustness

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sandbar-io/sandbar/pkg/natsx/natstest"
	"github.com/sandbar-io/sandbar/pkg/obs"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/history"
)

// loaded is when this process was there, at the latest.
var loaded = time.Now()

// TestWhatAProcessHolds of this very process.
func TestWhatAProcessHolds(t *testing.T) {
	t.Parallel()
	old, err := age(os.Getpid())
	const steps = 20 * time.Millisecond // of the kernel's clock, and what passed before this
	if since := time.Since(loaded); err != nil || old < since-steps || old > since+time.Minute {
		t.Errorf("its age is %s, %v; %s ago it was there already", old, err, since)
	}
	resident, err := memory(os.Getpid())
	if err != nil || resident < 4<<20 || resident > 4<<30 {
		t.Errorf("%d bytes are resident, %v", resident, err)
	}
	served := httptest.NewServer(obs.Handler(obs.NewRegistry()))
	defer served.Close()
	w := &world{installation: &installation{http: http.DefaultClient, Stack: &stack.Stack{
		Services: map[string]*stack.Service{"gateway-0": {Health: served.URL}},
	}}}
	n, err := w.goroutines(t.Context(), "gateway-0")
	if err != nil || n < 3 {
		t.Errorf("%d goroutines, %v", n, err)
	}
	if _, err := memory(1 << 30); err == nil {
		t.Error("a process that is not there holds memory")
	}
}

// TestWhatNATSHolds: the figures are those of its monitoring port.
func TestWhatNATSHolds(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, server.Options{HTTPHost: "127.0.0.1", HTTPPort: server.RANDOM_PORT})
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"a.>"}}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "two"} {
		if _, err := js.CreateConsumer(t.Context(), "S", jetstream.ConsumerConfig{Durable: name}); err != nil {
			t.Fatal(err)
		}
	}
	w := &world{installation: &installation{http: http.DefaultClient, Stack: &stack.Stack{NATS: []*stack.NATSServer{{Monitor: s.MonitorAddr().Port}}}}}
	got := map[history.Figure]int64{}
	if err := w.held(t.Context(), got); err != nil {
		t.Fatal(err)
	}
	if got[history.Connections] != 1 || got[history.Consumers] != 2 || got[history.Subscriptions] == 0 {
		t.Errorf("%+v, want 1 connection and 2 consumers", got)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.NATS[0].Monitor = l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.held(t.Context(), got); err == nil {
		t.Error("a server that is away tells figures")
	}
}
