//go:build system

package conformance_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

// probeLimit is what the reference chart's probes wait.
const probeLimit = 2 * time.Second

// With NATS slow or away: TestHealthWithoutNATS of the gateway.
func TestCheck62HealthAndMetrics(t *testing.T) {
	declare(t, apiServer, 62)
	t.Parallel()
	for _, api := range gateways("default") {
		answer := do(t, api.Caller, client.Request{Path: "/health", Bare: true})
		var body map[string]any
		if err := answer.Decode(&body); err != nil || answer.Status != http.StatusOK || body == nil || answer.Took > probeLimit {
			t.Errorf("%s, %v, want 200 and a JSON object within %s", answer, err, probeLimit)
		}
		metrics := do(t, api.Caller, client.Request{Path: "/metrics", Bare: true})
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(bytes.NewReader(metrics.Body))
		if err != nil || metrics.Status != http.StatusOK || metrics.Took > probeLimit || families["sandbar_gateway_requests_total"] == nil {
			t.Errorf("%s, %v, want metrics as Prometheus reads them", metrics, err)
		}
		if kind := metrics.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/plain") {
			t.Errorf("metrics have the type %q", kind)
		}
	}
}
