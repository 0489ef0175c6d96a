// Package natsperm_test proves deploy/nats/nats.conf: each user can do its work,
// needs every line that it has, and can do nothing else.
package natsperm_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/natsx/natstest"
)

const confFile = "../../deploy/nats/nats.conf"

// services are the users that are services; each is known by its user's name.
var services = []string{"gateway", "provisioner", "watcher", "router"}

var users = append([]string{"subscriber"}, services...)

// operator may do everything. It stands in the tests' server only.
const operator = "operator"

func password(user string) string { return "p0" + user }

func TestMain(m *testing.M) {
	env := map[string]string{
		"NATS_HOST": "127.0.0.1", "NATS_PORT": "-1", "NATS_STORE_DIR": filepath.Join(os.TempDir(), "overridden"),
		"NATS_GATEWAY_PASSWORD":     password("gateway"),
		"NATS_PROVISIONER_PASSWORD": password("provisioner"),
		"NATS_WATCHER_PASSWORD":     password("watcher"),
		"NATS_ROUTER_PASSWORD":      password("router"),
		"NATS_SUBSCRIBER_PASSWORD":  password("subscriber"),
	}
	for k, v := range env {
		if err := os.Setenv(k, v); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// startServer runs a server on the configuration in path and returns its URL.
func startServer(t *testing.T, path string) string {
	t.Helper()
	opts, err := server.ProcessConfigFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !opts.JetStream { // natstest adds it
		t.Fatal("the configuration is without JetStream")
	}
	opts.StoreDir = "" // one of its own
	opts.Users = append(opts.Users, &server.User{Username: operator, Password: password(operator)})
	return natstest.Start(t, *opts).ClientURL()
}

// violation is a permission error that the server told a user of.
type violation struct {
	user string
	err  error
}

func (v violation) Error() string { return v.user + ": " + v.err.Error() }

// connect connects a user as a service does. A permission error ends the run by
// cancel, because the client's own calls would only time out.
func connect(t *testing.T, url, user string, cancel context.CancelCauseFunc) *natsx.Conn {
	t.Helper()
	c, err := natsx.Connect(user, natsx.Config{URL: url, Password: password(user), Replicas: 1}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if !c.IsConnected() {
		t.Fatalf("%s is not let in: %v", user, c.LastError())
	}
	c.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		if errors.Is(err, nats.ErrPermissionViolation) {
			cancel(violation{user, err})
		}
	})
	return c
}

// roundTrip returns when the server has seen and judged all that was sent.
func roundTrip(c *natsx.Conn) error {
	if err := c.FlushTimeout(5 * time.Second); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return nil
}
