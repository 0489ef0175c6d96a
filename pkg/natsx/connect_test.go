package natsx_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/natsx/natstest"
)

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config natsx.Config
		names  []string
	}{
		"the least":    {natsx.Config{URL: "nats://x", Replicas: 1}, nil},
		"three":        {natsx.Config{URL: "nats://x", Replicas: 3}, nil},
		"all is wrong": {natsx.Config{Replicas: 2}, []string{"NATS_URL", "NATS_REPLICAS"}},
		"zero":         {natsx.Config{URL: "nats://x"}, []string{"NATS_REPLICAS"}},
	} {
		err := c.config.Validate()
		if (err == nil) != (c.names == nil) {
			t.Errorf("%s: %v", name, err)
		}
		for _, n := range c.names {
			if !strings.Contains(err.Error(), n) {
				t.Errorf("%s: %v does not name %s", name, err, n)
			}
		}
	}
}

// A service starts before NATS does, and finds it.
func TestConnectBeforeTheServerIsThere(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := portOf(t, l.Addr())
	_ = l.Close()
	c := connect(t, "nats://"+l.Addr().String())
	if err := c.Healthy(); err == nil {
		t.Error("healthy without a server")
	}
	if err := c.Publish("x", nil); err == nil {
		t.Error("a message is kept for later: it must be told that it was not sent")
	}
	startServer(t, server.Options{Port: port})
	until(t, "the connection", func() bool { return c.Healthy() == nil })
	if err := c.Publish("x", nil); err != nil {
		t.Error(err)
	}
}

func TestConnectRefuses(t *testing.T) {
	t.Parallel()
	s := startServer(t, server.Options{})
	if c, err := natsx.Connect("test", natsx.Config{URL: "://", Replicas: 1}, zap.NewNop()); err == nil {
		c.Close()
		t.Error("no URL is accepted")
	}
	if c, err := natsx.Connect("test", natsx.Config{URL: s.ClientURL(), CAFile: "/none", Replicas: 1}, zap.NewNop()); err == nil {
		c.Close()
		t.Error("a CA file that is not there is accepted")
	}
}

// users are a server's: one that may do little.
func users() server.Options {
	return server.Options{Users: []*server.User{{
		Username: "test", Password: "right",
		Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{"allowed.>"}},
			Subscribe: &server.SubjectPermission{Allow: []string{"allowed.>", "_INBOX_test.>"}},
		},
	}}}
}

// The client library tells nobody of a denied publish or subscribe: a service
// that needs it would wait for ever and look well.
func TestPermissionErrorsMakeUnhealthy(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(*natsx.Conn) error{
		"publish": func(c *natsx.Conn) error { return c.Publish("denied.x", nil) },
		"subscribe": func(c *natsx.Conn) error {
			_, err := c.SubscribeSync("denied.x")
			return err
		},
		"another's inbox": func(c *natsx.Conn) error {
			_, err := c.SubscribeSync("_INBOX_other.>")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := users()
			s := startServer(t, opts)
			c, err := natsx.Connect("test", natsx.Config{URL: s.ClientURL(), Password: "right", Replicas: 1}, zap.NewNop())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Close)
			for _, err := range []error{c.Publish("allowed.x", nil), c.Flush(), c.Healthy()} {
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := act(c); err != nil {
				t.Fatal(err)
			}
			until(t, "the denial", func() bool { return c.Denied() != "" })
			if err := c.Healthy(); err == nil || !strings.Contains(err.Error(), "denies") {
				t.Error(err)
			}
			if !c.IsConnected() {
				t.Error("it disconnected")
			}
			// Rights that were added count from the next connection on.
			opts.Port = portOf(t, s.Addr())
			opts.Users[0].Permissions = nil
			s.Shutdown()
			s.WaitForShutdown()
			startServer(t, opts)
			until(t, "to be healthy again", func() bool { return c.Healthy() == nil })
		})
	}
}

// Credentials that are wrong may become right: the service goes on trying, and
// is not ready.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	opts := users()
	s := startServer(t, opts)
	c, err := natsx.Connect("test", natsx.Config{URL: s.ClientURL(), Password: "wrong", Replicas: 1}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	until(t, "a refusal", func() bool { return c.LastError() != nil })
	if err := c.Healthy(); err == nil {
		t.Error("healthy")
	} else if strings.Contains(err.Error(), "wrong") {
		t.Errorf("%v shows the password", err)
	}
	opts.Port = portOf(t, s.Addr())
	opts.Users = []*server.User{{Username: "test", Password: "wrong"}}
	s.Shutdown()
	s.WaitForShutdown()
	startServer(t, opts)
	until(t, "the connection", func() bool { return c.Healthy() == nil })
}

// A service's user is its own name, and so is its inbox, where nothing else is
// configured.
func TestConnectNames(t *testing.T) {
	t.Parallel()
	s := startServer(t, users())
	c, err := natsx.Connect("test", natsx.Config{URL: s.ClientURL(), Password: "right", Replicas: 1}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	until(t, "the connection", func() bool { return c.Healthy() == nil })
	if inbox := c.NewInbox(); !strings.HasPrefix(inbox, "_INBOX_test.") {
		t.Error(inbox)
	}
	if _, err := c.Subscribe("allowed.echo", func(m *nats.Msg) { _ = c.Publish("allowed.seen", m.Data) }); err != nil {
		t.Fatal(err)
	}
	if c.Opts.Name != "sandbar-test" {
		t.Error(c.Opts.Name)
	}
}

func TestRequestsEndWithoutAServer(t *testing.T) {
	t.Parallel()
	s := startServer(t, server.Options{})
	c := connect(t, s.ClientURL())
	until(t, "the connection", func() bool { return c.Healthy() == nil })
	s.Shutdown()
	s.WaitForShutdown()
	began := time.Now()
	if _, err := c.JS.Stream(t.Context(), "x"); err == nil {
		t.Error("answered")
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

// A client of NATS gives up after 60 attempts by itself. Ours never does: nobody would
// start the service again for it.
func TestTheClientNeverGivesUp(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	attempts, enough := 0, make(chan struct{})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
			if attempts++; attempts == nats.DefaultMaxReconnect+5 {
				close(enough)
			}
		}
	}()
	c := connect(t, "nats://"+l.Addr().String())
	select {
	case <-enough:
	case <-time.After(2 * patience):
		t.Fatal("it does not try any more")
	}
	port := portOf(t, l.Addr())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	startServer(t, server.Options{Port: port})
	until(t, "the connection", func() bool { return c.Healthy() == nil })
}

// A server that takes connections and says nothing holds the client library up, and
// nobody who only asks whether there is a connection.
func TestASilentServerHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, server.Options{})
	address := s.Addr().String()
	c := connect(t, s.ClientURL())
	if !c.Connected() || c.Lives() != 0 {
		t.Errorf("connected: %t, after %d others", c.Connected(), c.Lives())
	}
	s.Stop()
	var silent net.Listener
	until(t, "the port", func() (ok bool) {
		var err error
		silent, err = net.Listen("tcp", address)
		return err == nil
	})
	held, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	until(t, "it is known that there is none", func() bool { return !c.Connected() && c.Lives() == 0 })
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %s to say so", took)
	}
	_, _ = held.Close(), silent.Close()
	s.Start()
	until(t, "the next connection", func() bool { return c.Connected() && c.Lives() == 1 })
}
