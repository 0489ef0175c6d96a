package proxy

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// noService labels requests that name no service.
const noService sandbox.Service = "none"

// aborted labels requests whose answer did not come to its end, whoever went
// away.
const aborted = "aborted"

// Metrics counts what passes. All label sets are closed.
type Metrics struct {
	requests *prometheus.CounterVec
	inFlight *prometheus.GaugeVec
	upstream *prometheus.CounterVec
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sandbar_router_requests_total", Help: "Requests that ended, by service and code class.",
		}, []string{"service", "code"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sandbar_router_requests_in_flight", Help: "Requests under way to sandboxes, upgraded connections too.",
		}, []string{"service"}),
		upstream: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sandbar_router_upstream_errors_total", Help: "Requests that a sandbox did not answer, by reason.",
		}, []string{"reason"}),
	}
	r.MustRegister(m.requests, m.inFlight, m.upstream)
	return m
}

// ended counts a request; ok: its answer came to its end.
func (m *Metrics) ended(s sandbox.Service, status int, ok bool) {
	code := aborted
	if ok && status >= 100 && status < 600 {
		code = strconv.Itoa(status/100) + "xx"
	}
	m.requests.WithLabelValues(string(s), code).Inc()
}
