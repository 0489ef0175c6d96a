package run_test

import (
	"context"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sandbar-io/sandbar/pkg/run"
)

// get asks a health server without a network.
func get(t *testing.T, h *run.Health, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

func listen(t *testing.T) *run.Health {
	t.Helper()
	h, err := run.ListenHealth(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	parts := map[string]any{"nats": "connected", "views": 12.0}
	for name, c := range map[string]struct {
		report run.Report
		drain  bool
		code   int
		want   map[string]any
	}{
		"ready":       {run.Report{Parts: parts}, false, 200, map[string]any{"status": "ready"}},
		"unready":     {run.Report{Parts: parts, Unready: "no complete view yet"}, false, 503, map[string]any{"status": "unready", "detail": "no complete view yet", "error": "unavailable"}},
		"degraded":    {run.Report{Parts: parts, Degraded: "no provisioner answers"}, false, 200, map[string]any{"status": "degraded", "detail": "no provisioner answers"}},
		"both":        {run.Report{Parts: parts, Unready: "a", Degraded: "b"}, false, 503, map[string]any{"status": "unready", "detail": "a", "error": "unavailable"}},
		"draining":    {run.Report{Parts: parts}, true, 503, map[string]any{"status": "unready", "detail": "draining", "error": "unavailable"}},
		"drains ill":  {run.Report{Parts: parts, Unready: "a", Degraded: "b"}, true, 503, map[string]any{"status": "unready", "detail": "draining", "error": "unavailable"}},
		"without any": {run.Report{}, false, 200, map[string]any{"status": "ready"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := listen(t)
			h.Ask(func() run.Report { return c.report })
			if c.drain {
				h.Drain()
			}
			code, text := get(t, h, "/readiness")
			var got map[string]any
			if err := json.Unmarshal([]byte(text), &got); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			want := maps.Clone(c.want)
			maps.Copy(want, c.report.Parts)
			if code != c.code || !maps.Equal(got, want) {
				t.Errorf("%d %v, want %d %v", code, got, c.code, want)
			}
			for _, path := range []string{"/health", "/liveness"} { // whatever happens
				if code, text := get(t, h, path); code != http.StatusOK || !strings.Contains(text, `"status":"ok"`) {
					t.Errorf("%s: %d %s", path, code, text)
				}
			}
			if len(parts) != 2 {
				t.Errorf("the service's own map was changed: %v", parts)
			}
		})
	}
}

// Before a service has said what it needs it is not ready.
func TestReadinessBeforeTheStart(t *testing.T) {
	t.Parallel()
	if code, text := get(t, listen(t), "/readiness"); code != http.StatusServiceUnavailable || !strings.Contains(text, "starting") {
		t.Errorf("%d %s", code, text)
	}
}

func TestHealthMetrics(t *testing.T) {
	t.Parallel()
	h := listen(t)
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "commands_total", Help: "."})
	h.Metrics.MustRegister(c)
	c.Add(3)
	if code, text := get(t, h, "/metrics"); code != http.StatusOK || !strings.Contains(text, "commands_total 3") {
		t.Errorf("%d %s", code, text)
	}
	for _, path := range []string{"/", "/x", "/health/x"} {
		var got map[string]string
		code, text := get(t, h, path)
		if err := json.Unmarshal([]byte(text), &got); err != nil || code != http.StatusNotFound || got["detail"] == "" || got["error"] != "not_found" {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
}

// The port is taken before anything is served, and what is wrong is said.
func TestListenHealth(t *testing.T) {
	t.Parallel()
	_, text, err := net.SplitHostPort(listen(t).Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := run.ListenHealth(port); err == nil || !strings.Contains(err.Error(), "probes") {
		t.Errorf("%v", err)
	}
}

// A health server in a group answers over its port, and on the way out says that
// it drains before it is gone.
func TestHealthServes(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	h := listen(t)
	h.Ask(func() run.Report { return run.Report{} })
	g := run.NewGroup(ctx)
	h.Serve(g)
	ended := make(chan error, 1)
	go func() { ended <- g.Run() }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	ask := func() (int, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+h.Addr().String()+"/readiness", nil)
		if err != nil {
			return 0, err
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		return resp.StatusCode, nil
	}
	if code, err := ask(); err != nil || code != http.StatusOK {
		t.Errorf("%d, %v", code, err)
	}
	cancel()
	drained := false
	for {
		code, err := ask()
		if err != nil {
			break // gone
		}
		drained = drained || code == http.StatusServiceUnavailable
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if !drained {
		t.Error("nobody was told that it drains")
	}
}
