package health_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/obs"
	"github.com/sandbar-io/sandbar/services/watcher/internal/health"
)

func TestReadiness(t *testing.T) {
	t.Parallel()
	good := health.State{Role: "standby", Synced: true, NATS: "ok", Kubernetes: "ok"}
	for _, c := range []struct {
		name   string
		change func(*health.State)
		drain  bool
		code   int
		status string
	}{
		{"good", func(*health.State) {}, false, 200, "ready"},
		{"not loaded", func(s *health.State) { s.Synced = false }, false, 503, "unready"},
		{"a right is missing", func(s *health.State) { s.Denied = true }, false, 503, "unready"},
		{"NATS is away", func(s *health.State) { s.NATS = "NATS is RECONNECTING" }, false, 200, "degraded"},
		{"the API server is away", func(s *health.State) { s.Kubernetes = "refused" }, false, 200, "degraded"},
		{"draining", func(*health.State) {}, true, 503, "unready"},
	} {
		s := good
		c.change(&s)
		h := health.New(func() health.State { return s })
		if c.drain {
			h.Drain()
		}
		srv := h.Handler(obs.NewRegistry())
		for _, path := range []string{"/health", "/liveness", "/metrics"} {
			if code := get(srv, path).Code; code != http.StatusOK {
				t.Errorf("%s: %s answers %d", c.name, path, code)
			}
		}
		r := get(srv, "/readiness")
		var body health.State
		if err := json.Unmarshal(r.Body.Bytes(), &body); err != nil {
			t.Fatal(err)
		}
		if r.Code != c.code || body.Status != c.status || body.Role != "standby" {
			t.Errorf("%s: %d %+v", c.name, r.Code, body)
		}
	}
}

func get(h http.Handler, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}
