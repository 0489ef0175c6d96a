// Package runtest runs services inside a test. No service links it.
package runtest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sandbar-io/sandbar/pkg/run"
)

// Start runs a service until the test ends, and returns the address of its probes,
// on any port. The service says message once it runs, and in its member the
// address.
func Start[C interface{ Validate() error }](
	t testing.TB, start func(context.Context, C, *zap.Logger) error, message, member string, environ ...string,
) (probes string) {
	t.Helper()
	cfg, err := run.Parse[C](append([]string{"HEALTH_PORT=0"}, environ...))
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.InfoLevel)
	running, ended := make(chan struct{}), make(chan error, 1)
	hook := zap.Hooks(func(e zapcore.Entry) error {
		if e.Message == message {
			close(running)
		}
		return nil
	})
	go func() { ended <- start(t.Context(), cfg, zap.New(core, hook)) }()
	select {
	case <-running:
	case err := <-ended:
		t.Fatalf("it ended before it ran: %v", err)
	}
	t.Cleanup(func() { // the test's context has ended
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return fmt.Sprint(logs.FilterMessage(message).All()[0].ContextMap()[member])
}

// Metrics is what a service tells at its probes' address.
func Metrics(t testing.TB, probes string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + probes + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", res.Status, err)
	}
	return string(body)
}

// nowhere is the way to an API server that is not there.
const nowhere = `{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: x, user: x}}],
  clusters: [{name: x, cluster: {server: "http://127.0.0.1:1"}}], users: [{name: x, user: {}}]}`

// Kubeconfig is a file that leads to an API server that is not there.
func Kubeconfig(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, []byte(nowhere), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
