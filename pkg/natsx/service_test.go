package natsx_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

func TestPresent(t *testing.T) {
	t.Parallel()
	s := startServer(t, server.Options{})
	asks, is := connect(t, s.ClientURL()), connect(t, s.ClientURL())
	expect := func(name string, want bool) {
		t.Helper()
		got, err := asks.Present(t.Context(), name, patience)
		if err != nil || got != want {
			t.Errorf("%s is present: %v, %v", name, got, err)
		}
	}
	expect("provisioner", false)
	service, err := is.Announce("provisioner")
	if err != nil {
		t.Fatal(err)
	}
	if err := is.Flush(); err != nil {
		t.Fatal(err)
	}
	expect("provisioner", true)
	expect("watcher", false)
	if err := service.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := is.Flush(); err != nil {
		t.Fatal(err)
	}
	expect("provisioner", false)
	if _, err := is.Announce("no name"); err == nil {
		t.Error("a name with a space is accepted")
	}
}

// That nobody answered, and that nobody could be asked, are not the same.
func TestPresentIsUnknown(t *testing.T) {
	t.Parallel()
	s := startServer(t, server.Options{})
	c := connect(t, s.ClientURL())
	until(t, "the connection", func() bool { return c.Healthy() == nil })
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := c.Present(canceled, "provisioner", time.Second); err == nil || got {
		t.Errorf("canceled: %v, %v", got, err)
	}
	s.Shutdown()
	s.WaitForShutdown()
	until(t, "the connection to be lost", func() bool { return c.Healthy() != nil })
	if got, err := c.Present(t.Context(), "provisioner", time.Second); err == nil || got {
		t.Errorf("away: %v, %v", got, err)
	}
}

// Somebody who hears the question and stays silent is not present.
func TestPresentOfASilentService(t *testing.T) {
	t.Parallel()
	s := startServer(t, server.Options{})
	c := connect(t, s.ClientURL())
	if _, err := c.SubscribeSync("$SRV.PING.provisioner"); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Present(t.Context(), "provisioner", 10*time.Millisecond); err != nil || got {
		t.Errorf("%v, %v", got, err)
	}
}
