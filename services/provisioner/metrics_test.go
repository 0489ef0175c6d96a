package provisioner_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sandbar-io/sandbar/pkg/natsx/natstest"
	"github.com/sandbar-io/sandbar/pkg/run/runtest"
	"github.com/sandbar-io/sandbar/services/provisioner"
)

// What is counted of the connection to NATS is told, whether Kubernetes is there or not.
func TestMetricsOfNATS(t *testing.T) {
	t.Parallel()
	probes := runtest.Start(t, provisioner.Run, "provisioner runs", "health_address", append(slices.Clone(required),
		"KUBECONFIG="+runtest.Kubeconfig(t), "NATS_URL="+natstest.Start(t, server.Options{}).ClientURL())...)
	if !strings.Contains(runtest.Metrics(t, probes), "sandbar_nats_connected 1\n") {
		t.Error("the connection to NATS is not told of")
	}
}
