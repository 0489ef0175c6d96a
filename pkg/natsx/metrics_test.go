package natsx_test

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
)

func TestErrorsAreCounted(t *testing.T) {
	t.Parallel()
	srv := startServer(t, server.Options{})
	c := connect(t, srv.ClientURL())
	metrics := prometheus.NewRegistry()
	c.Register(metrics)
	release := make(chan struct{})
	slow, err := c.Subscribe("x", func(*nats.Msg) { <-release })
	if err != nil {
		t.Fatal(err)
	}
	if err := slow.SetPendingLimits(1, -1); err != nil {
		t.Fatal(err)
	}
	until(t, "more than the subscription holds", func() bool {
		if err := c.Publish("x", nil); err != nil {
			t.Fatal(err)
		}
		return counted(t, metrics, "slow_consumer") == 1
	})
	close(release)
	if other := counted(t, metrics, "other"); other != 0 {
		t.Errorf("%v other errors", other)
	}
}

// counted is the number of errors of a kind.
func counted(t *testing.T, from prometheus.Gatherer, kind string) float64 {
	t.Helper()
	all, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range all {
		if family.GetName() != "sandbar_nats_errors_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			if m.GetLabel()[0].GetValue() == kind {
				return m.GetCounter().GetValue()
			}
		}
	}
	return -1
}
