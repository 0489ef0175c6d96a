package run

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sandbar-io/sandbar/pkg/obs"
)

// Health is the HTTP server of a service's probes, on a port of its own: /health
// and /liveness say that it lives, /readiness what it needs, /metrics how it
// does.
type Health struct {
	Metrics *prometheus.Registry

	l        net.Listener
	ask      func() Report
	draining atomic.Bool
}

// Report is what readiness tells. It is 503 only while another replica would do
// better: shared troubles are told with 200, or one hiccup takes all out at once.
type Report struct {
	Unready  string // why this replica cannot serve; "": it can
	Degraded string // what all replicas lack; "": nothing
	Parts    map[string]any
}

// ListenHealth binds the port, 0 for any.
func ListenHealth(port int) (*Health, error) {
	l, err := net.Listen("tcp", net.JoinHostPort("", strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("listen for probes: %w", err)
	}
	return &Health{Metrics: obs.NewRegistry(), l: l, ask: func() Report { return Report{Unready: "starting"} }}, nil
}

// Ask sets what readiness asks. It is called before the server serves.
func (h *Health) Ask(ask func() Report) { h.ask = ask }

// Addr is where it listens.
func (h *Health) Addr() net.Addr { return h.l.Addr() }

// Close ends it, where it was never served.
func (h *Health) Close() error { return h.l.Close() }

// Drain makes readiness fail from now on.
func (h *Health) Drain() { h.draining.Store(true) }

// Serve adds the server to a group.
func (h *Health) Serve(g *Group) {
	srv := &http.Server{Handler: h.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	g.Serve(srv, h.l, h.Drain)
}

// Handler serves the endpoints.
func (h *Health) Handler() http.Handler {
	mux := http.NewServeMux()
	alive := func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, map[string]any{"status": "ok"}) }
	mux.HandleFunc("GET /health", alive)
	mux.HandleFunc("GET /liveness", alive)
	mux.HandleFunc("GET /readiness", h.readiness)
	mux.Handle("GET /metrics", obs.Handler(h.Metrics))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusNotFound, map[string]any{"detail": "there is no such page", "error": "not_found"})
	})
	return mux
}

func (h *Health) readiness(w http.ResponseWriter, _ *http.Request) {
	r := h.ask()
	if h.draining.Load() {
		r.Unready = "draining"
	}
	body := maps.Clone(r.Parts)
	if body == nil {
		body = map[string]any{}
	}
	code := http.StatusOK
	switch {
	case r.Unready != "":
		code = http.StatusServiceUnavailable
		body["status"], body["detail"], body["error"] = "unready", r.Unready, "unavailable"
	case r.Degraded != "":
		body["status"], body["detail"] = "degraded", r.Degraded
	default:
		body["status"] = "ready"
	}
	answer(w, code, body)
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // whoever asked may be gone
}
