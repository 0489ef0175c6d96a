package natsx_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/natsx"
)

// A password is rotated under a connection that stands, by a configuration that the
// server reads again: the server ends the connection, the service says that it is
// not ready, nothing that it sends is lost without a word, and with the password
// that it has back in force it goes on by itself.
func TestPasswordIsRotated(t *testing.T) {
	t.Parallel()
	opts := server.Options{StoreDir: t.TempDir(), Users: []*server.User{{Username: "test", Password: "right"}}}
	s := startServer(t, opts)
	c, err := natsx.Connect("test", natsx.Config{URL: s.ClientURL(), Password: "right", Replicas: 1}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	heard, err := c.SubscribeSync("x")
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the connection", func() bool { return c.Healthy() == nil })
	reload := func(password string) {
		t.Helper()
		again := opts
		again.Port, again.Host, again.JetStream, again.NoLog, again.NoSigs = portOf(t, s.Addr()), "127.0.0.1", true, true, true
		again.Users = []*server.User{{Username: "test", Password: password}}
		if err := s.ReloadOptions(&again); err != nil {
			t.Fatal(err)
		}
	}
	reload("rotated")
	began := time.Now()
	until(t, "it to say that it is not ready", func() bool { return c.Denied() != "" && c.Healthy() != nil })
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it said so after %s", took)
	}
	if text := c.Denied(); strings.Contains(text, "right") || strings.Contains(text, "rotated") {
		t.Errorf("%q shows a password", text)
	}
	if err := c.Publish("x", nil); err == nil {
		t.Error("what it sends is lost without a word")
	}
	reload("right")
	until(t, "to be healthy again", func() bool { return c.Healthy() == nil && c.Denied() == "" })
	if err := c.Publish("x", []byte("again")); err != nil {
		t.Fatal(err)
	}
	if m, err := heard.NextMsg(patience); err != nil || string(m.Data) != "again" {
		t.Errorf("its subscription brings %v, %v", m, err)
	}
}
