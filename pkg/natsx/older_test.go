package natsx_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sandbar-io/sandbar/pkg/contract"
)

// The queue goes on above what it gave out, once: whoever does it at the same time
// takes nothing away. Its consumer goes on with it.
func TestSkipCommands(t *testing.T) {
	t.Parallel()
	c := connect(t, startServer(t, server.Options{JetStreamMaxStore: 64 << 30}).ClientURL())
	cons, err := c.EnsureCommands(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	publish := func() uint64 {
		t.Helper()
		ack, err := c.JS.Publish(t.Context(), "sandbar.command.v1.start.acme.record", []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		return ack.Sequence
	}
	before := publish()
	if skipped, err := c.SkipCommands(t.Context(), before); skipped || err != nil {
		t.Fatalf("it skipped though nothing is missing: %v %v", skipped, err)
	}
	given := before + 1000 // that an older store does not know
	for i, want := range []bool{true, false} {
		if skipped, err := c.SkipCommands(t.Context(), given); skipped != want || err != nil {
			t.Fatalf("time %d: skipped %t, %v", i, skipped, err)
		}
	}
	at := publish()
	if now := uint64(time.Now().UnixMicro()); at <= given || at+uint64(time.Minute.Microseconds()) < now || at > now+uint64(10*time.Second.Microseconds()) {
		t.Errorf("it goes on at %d, after %d at %d", at, given, now)
	}
	m, err := cons.Next(jetstream.FetchMaxWait(patience))
	if err != nil {
		t.Fatal(err)
	}
	if meta, err := m.Metadata(); err != nil || meta.Sequence.Stream != at {
		t.Errorf("the consumer has %+v, %v; want %d", meta, err, at)
	}
	if err := m.DoubleAck(t.Context()); err != nil {
		t.Error(err)
	}
	s, err := c.JS.Stream(t.Context(), contract.CommandStream)
	if err != nil {
		t.Fatal(err)
	}
	if n := s.CachedInfo().State.Msgs; n != 0 {
		t.Errorf("%d messages are left", n)
	}
}
