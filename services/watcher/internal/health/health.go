// Package health answers the probes.
package health

import (
	"encoding/json"
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sandbar-io/sandbar/pkg/obs"
)

// State is what readiness tells.
type State struct {
	Status        string `json:"status"` // ready, degraded or unready
	Role          string `json:"role"`   // leader or standby
	Leader        string `json:"leader,omitempty"`
	Synced        bool   `json:"synced"`
	ViewsComplete bool   `json:"views_complete"` // as the leader knows; a standby cannot
	Sandboxes     int    `json:"sandboxes"`
	NATS          string `json:"nats"`       // ok, or what is wrong
	Kubernetes    string `json:"kubernetes"` // ok, or what is wrong
	Denied        bool   `json:"denied"`     // a permission is missing
	Draining      bool   `json:"draining"`
}

// The statuses.
const (
	ready    = "ready"
	degraded = "degraded"
	unready  = "unready"
	ok       = "ok"
)

// Health serves the probes.
type Health struct {
	ask      func() State
	draining atomic.Bool
}

// New returns one that asks for the state at each probe.
func New(ask func() State) *Health { return &Health{ask: ask} }

// Drain makes readiness say no from now on.
func (h *Health) Drain() { h.draining.Store(true) }

// Handler serves /health, /liveness, /readiness and /metrics.
func (h *Health) Handler(r *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	alive := func(w http.ResponseWriter, _ *http.Request) { write(w, http.StatusOK, map[string]string{"status": ok}) }
	mux.HandleFunc("GET /health", alive)
	mux.HandleFunc("GET /liveness", alive)
	mux.HandleFunc("GET /readiness", h.readiness)
	mux.Handle("GET /metrics", obs.Handler(r))
	return mux
}

// readiness is 503 only while another replica would do better: the watches are
// not loaded, a permission is missing, or this one is about to end. What all
// share is told with 200.
func (h *Health) readiness(w http.ResponseWriter, _ *http.Request) {
	s := h.ask()
	s.Draining = h.draining.Load()
	code := http.StatusOK
	switch {
	case !s.Synced || s.Denied || s.Draining:
		s.Status, code = unready, http.StatusServiceUnavailable
	case s.NATS != ok || s.Kubernetes != ok:
		s.Status = degraded
	default:
		s.Status = ready
	}
	write(w, code, s)
}

// Text is "ok", or the error's text.
func Text(err error) string {
	if err == nil {
		return ok
	}
	return err.Error()
}

func write(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // whoever asked may be gone
}
