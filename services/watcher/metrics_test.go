package watcher_test

import (
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/run/runtest"
	"github.com/sandbar-io/sandbar/services/watcher"
	"github.com/sandbar-io/sandbar/services/watcher/internal/testbed"
)

// What is counted of the connection to NATS is told, whether Kubernetes is there or not.
func TestMetricsOfNATS(t *testing.T) {
	t.Parallel()
	probes := runtest.Start(t, watcher.Run, "started", "probes",
		"KUBECONFIG="+runtest.Kubeconfig(t), "NATS_URL="+testbed.NewServer(t).URL(), "VIEW_SEALING_KEY="+testbed.SealingKey)
	if !strings.Contains(runtest.Metrics(t, probes), "sandbar_nats_connected 1\n") {
		t.Error("the connection to NATS is not told of")
	}
}
