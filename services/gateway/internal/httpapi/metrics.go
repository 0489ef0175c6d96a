package httpapi

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics have labels from closed sets only: route names, known methods.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

var knownMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

func newMetrics(n Needs) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sandbar_gateway_requests_total", Help: "Requests answered.",
		}, []string{"endpoint", "method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sandbar_gateway_request_seconds", Help: "Time to answer a request.",
			// Reads take microseconds, commands until their deadline of 8 s.
			Buckets: []float64{.0005, .001, .005, .01, .05, .1, .25, .5, 1, 2, 4, 8, 10},
		}, []string{"endpoint"}),
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	n.Metrics.MustRegister(m.requests, m.seconds,
		gauge("sandbar_gateway_sandboxes", "Sandboxes in memory, of all states.", func() float64 {
			return float64(n.Views.Status().Sandboxes)
		}),
		gauge("sandbar_gateway_view_age_seconds", "Time since the leading watcher's last heartbeat came; -1: none came.", func() float64 {
			if age := n.Views.Status().Age; age >= 0 {
				return age.Seconds()
			}
			return -1
		}),
		gauge("sandbar_gateway_provisioner_present", "1 if a provisioner answers.", func() float64 {
			if n.Checks.Provisioners() {
				return 1
			}
			return 0
		}))
	return m
}

func (m *metrics) observe(endpoint, method string, status int, took time.Duration) {
	if !slices.Contains(knownMethods, method) {
		method = "other"
	}
	m.requests.WithLabelValues(endpoint, method, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(endpoint).Observe(took.Seconds())
}
