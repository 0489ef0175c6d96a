package natsx_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sandbar-io/sandbar/pkg/natsx/natstest"
)

// A server that keeps its connections and stores nothing is left for another, once a
// stream has had the time to elect a leader; not one that is the only one, and not
// one that answers, be it that no stream is there.
func TestAServerThatStoresNothingIsLeft(t *testing.T) {
	t.Parallel()
	sick, well, other := natstest.Start(t, server.Options{}), natstest.Start(t, server.Options{}), natstest.Start(t, server.Options{})
	const nobody = "nats://127.0.0.1:1" // where another server could be
	content, alone := connect(t, other.ClientURL()+","+nobody), connect(t, sick.ClientURL())
	until(t, "the connections", func() bool { return content.Healthy() == nil && alone.Healthy() == nil })
	url := sick.ClientURL() + "," + well.ClientURL()
	well.Stop() // so that it begins at the other
	c := connect(t, url)
	until(t, "the connection", func() bool { return c.ConnectedServerId() == sick.ID() })
	well.Start()
	if err := sick.ShutdownJetStream(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	until(t, "another server", func() bool { return c.ConnectedServerId() == well.ID() })
	// It is looked at every 2 s, and the last answer may be as old as that.
	const election, every = 10 * time.Second, 2 * time.Second
	if took := time.Since(began); took < election-every {
		t.Errorf("it was left after %s", took)
	}
	if n := alone.Stats().Reconnects; n != 0 {
		t.Errorf("the only server was left %d times", n)
	}
	if n := content.Stats().Reconnects; n != 0 {
		t.Errorf("a server that answers was left %d times", n)
	}
}
