package run

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sandbar-io/sandbar/pkg/obs"
)

// Health is the HTTP server of a service that has none of its own: /health and
// /liveness say that it lives, /readiness what it needs, /metrics how it does.
type Health struct {
	Metrics *prometheus.Registry

	l        net.Listener
	checks   []check
	draining atomic.Bool
}

type check struct {
	name string
	ask  func() error
}

// ListenHealth binds the port, 0 for any.
func ListenHealth(port int) (*Health, error) {
	l, err := net.Listen("tcp", net.JoinHostPort("", strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("listen for health checks: %w", err)
	}
	return &Health{Metrics: obs.NewRegistry(), l: l}, nil
}

// Check adds a condition of readiness, before Server is called.
func (h *Health) Check(name string, ask func() error) {
	h.checks = append(h.checks, check{name, ask})
}

// Listener is the bound listener.
func (h *Health) Listener() net.Listener { return h.l }

// Drain makes readiness fail from now on.
func (h *Health) Drain() { h.draining.Store(true) }

// Server serves the endpoints.
func (h *Health) Server() *http.Server {
	mux := http.NewServeMux()
	alive := func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, map[string]any{"status": "ok"}) }
	mux.HandleFunc("GET /health", alive)
	mux.HandleFunc("GET /liveness", alive)
	mux.HandleFunc("GET /readiness", h.readiness)
	mux.Handle("GET /metrics", obs.Handler(h.Metrics))
	return &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute}
}

func (h *Health) readiness(w http.ResponseWriter, _ *http.Request) {
	status, code := "ok", http.StatusOK
	if h.draining.Load() {
		status, code = "draining", http.StatusServiceUnavailable
	}
	parts := map[string]string{}
	for _, c := range h.checks {
		parts[c.name] = "ok"
		if err := c.ask(); err != nil {
			parts[c.name] = err.Error()
			status, code = "unready", http.StatusServiceUnavailable
		}
	}
	answer(w, code, map[string]any{"status": status, "checks": parts})
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}
