package provisioner_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sandbar-io/sandbar/pkg/natsx/natstest"
	"github.com/sandbar-io/sandbar/pkg/run"
	"github.com/sandbar-io/sandbar/services/provisioner"
)

// nowhere is the way to an API server that is not there.
const nowhere = `{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: x, user: x}}],
  clusters: [{name: x, cluster: {server: "http://127.0.0.1:1"}}], users: [{name: x, user: {}}]}`

// What is counted of the connection to NATS is told, whether Kubernetes is there or not.
func TestMetricsOfNATS(t *testing.T) {
	t.Parallel()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, []byte(nowhere), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := run.Parse[provisioner.Config](append(slices.Clone(required),
		"HEALTH_PORT=0", "KUBECONFIG="+kubeconfig, "NATS_URL="+natstest.Start(t, server.Options{}).ClientURL()))
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.InfoLevel)
	running, ended := make(chan struct{}), make(chan error, 1)
	hook := zap.Hooks(func(e zapcore.Entry) error {
		if e.Message == "provisioner runs" {
			close(running)
		}
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { ended <- provisioner.Run(ctx, cfg, zap.New(core, hook)) }()
	select {
	case <-running:
	case err := <-ended:
		t.Fatal(err)
	}
	address := fmt.Sprint(logs.FilterMessage("provisioner runs").All()[0].ContextMap()["health_address"])
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || !strings.Contains(string(body), "sandbar_nats_connected 1\n") {
		t.Errorf("the connection to NATS is not told of: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
