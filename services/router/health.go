package router

import (
	"encoding/json"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/views"
)

// staleAfter is the age of the views, told once a second, from which readiness
// calls the router degraded.
const staleAfter = 10 * time.Second

// health answers on a port of its own.
type health struct {
	conn     *natsx.Conn
	follower *views.Follower
	metrics  http.Handler
	draining atomic.Bool
}

type readiness struct {
	Status string `json:"status"` // ready, degraded, unready
	// Detail and Error say why it is unready, as in every error.
	Detail string `json:"detail,omitempty"`
	Error  string `json:"error,omitempty"`
	NATS   struct {
		Connected bool   `json:"connected"`
		Detail    string `json:"detail,omitempty"`
	} `json:"nats"`
	Views struct {
		Complete  bool   `json:"complete"` // held once
		AgeMS     int64  `json:"age_ms"`   // since the last heartbeat, -1: none came
		Leader    string `json:"leader"`
		Sandboxes int    `json:"sandboxes"`
	} `json:"views"`
}

func (h *health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/health", "/liveness":
		reply(w, http.StatusOK, map[string]string{"status": "ok"})
	case "/readiness":
		body := h.readiness()
		status := http.StatusOK
		if body.Error != "" {
			status = http.StatusServiceUnavailable
		}
		reply(w, status, body)
	case "/metrics":
		h.metrics.ServeHTTP(w, r)
	default:
		reply(w, http.StatusNotFound, map[string]string{"detail": "there is no such page", "error": "not_found"})
	}
}

// readiness is unready only while this replica cannot answer better than none;
// troubles that all replicas share only degrade.
func (h *health) readiness() readiness {
	var out readiness
	s := h.follower.Status()
	out.Views.Complete, out.Views.Leader, out.Views.Sandboxes = s.Ready, s.Leader, s.Sandboxes
	if out.Views.AgeMS = s.Age.Milliseconds(); s.Age < 0 {
		out.Views.AgeMS = -1
	}
	out.NATS.Connected = h.conn.IsConnected()
	err := h.conn.Healthy()
	if err != nil {
		out.NATS.Detail = err.Error()
	}
	unready := func(detail string) readiness {
		out.Status, out.Detail, out.Error = "unready", detail, "unavailable"
		return out
	}
	switch {
	case h.draining.Load():
		return unready("the router is stopping")
	case h.conn.Denied() != "":
		return unready(out.NATS.Detail)
	case !s.Ready:
		return unready("the state of sandboxes was never complete yet")
	}
	out.Status = "ready"
	if err != nil || s.Age < 0 || s.Age > staleAfter {
		out.Status = "degraded"
	}
	return out
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}
