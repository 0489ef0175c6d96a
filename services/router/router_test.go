package router_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/router"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheLifeOfASandbox(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	s := start(t, b.server.ClientURL(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	exactly := func(status int) {
		t.Helper()
		if got, body := s.get(sandboxURL); got != status {
			t.Fatalf("%d %s, want %d", got, body, status)
		}
	}
	exactly(503) // nothing is known to be complete
	if body := s.want("http://"+s.health+"/readiness", 503); !strings.Contains(body, "never complete") {
		t.Error(body)
	}
	b.beat()
	s.want("http://"+s.health+"/readiness", 200)
	// What the bucket holds is answered at once, from here on: no waiting.
	exactly(404)
	b.set(sandbox.StatusStarting, "")
	exactly(503)
	b.set(sandbox.StatusRunning, "127.0.0.1")
	before := time.Now()
	exactly(200)
	b.set(sandbox.StatusPaused, "")
	s.want(sandboxURL, 503) // one that runs is not asked about
	b.set(sandbox.StatusRunning, "127.0.0.1")
	exactly(200)
	if got, _ := s.get("http://" + runtimeID + ".sandbar.test/"); got != 200 {
		t.Error("the runtime id is no label")
	}
	options, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, "http://"+session+".sandbar.test", nil)
	if err != nil {
		t.Fatal(err)
	}
	options.URL.Opaque = "*"
	if res, err := s.client.Do(options); err != nil || res.ContentLength != int64(len("hello")) {
		t.Errorf("OPTIONS * is not the sandbox's to answer: %+v %v", res, err)
	} else {
		_ = res.Body.Close()
	}
	b.activity(before)
	b.set(sandbox.StatusStopped, "")
	s.want(sandboxURL, 404)
}

func TestHealth(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	s := start(t, b.server.ClientURL(), http.NotFoundHandler())
	b.beat()
	b.set(sandbox.StatusPaused, "")
	url := "http://" + s.health
	for path, want := range map[string]int{"/health": 200, "/liveness": 200, "/metrics": 200, "/": 404, "/x": 404} {
		if got, body := s.get(url + path); got != want {
			t.Errorf("%s: %d %s", path, got, body)
		}
	}
	s.want(url+"/readiness", 200)
	s.get(sandboxURL)
	_, metrics := s.get(url + "/metrics")
	if !strings.Contains(metrics, `sandbar_router_requests_total{code="5xx",service="agent"} 1`) {
		t.Error("the request is not counted")
	}
	if !strings.Contains(metrics, "sandbar_nats_connected 1\n") {
		t.Error("the connection to NATS is not told of")
	}
	var ready struct {
		Status string
		NATS   struct{ Connected bool }
		Views  struct {
			AgeMS     *int64 `json:"age_ms"`
			Leader    string
			Sandboxes int
		}
	}
	_, body := s.get(url + "/readiness")
	if err := json.Unmarshal([]byte(body), &ready); err != nil || ready.Status != "ready" || !ready.NATS.Connected ||
		ready.Views.AgeMS == nil || *ready.Views.AgeMS < 0 || ready.Views.Leader != "watcher-1" || ready.Views.Sandboxes != 1 {
		t.Error(body, err)
	}
	// A trouble that all replicas share does not take them all out.
	b.server.Shutdown()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(body, `"connected":false`) {
		select {
		case <-tick.C:
			body = s.want(url+"/readiness", 200)
		case <-t.Context().Done():
			t.Fatal(body)
		}
	}
	if !strings.Contains(body, `"degraded"`) {
		t.Error(body)
	}
	if got, _ := s.get(sandboxURL); got != 503 {
		t.Errorf("paused, with NATS away: %d", got)
	}
	if got, _ := s.get("http://other.sandbar.test/"); got != 503 {
		t.Errorf("unknown, with NATS away: %d", got)
	}
}

func TestStartsWithoutNATS(t *testing.T) {
	t.Parallel()
	s := start(t, "nats://127.0.0.1:1", http.NotFoundHandler())
	s.want("http://"+s.health+"/health", 200)
	s.want("http://"+s.health+"/readiness", 503)
	s.want(sandboxURL, 503)
}

func TestListenFails(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	taken := l.Addr().(*net.TCPAddr).Port
	for _, cfg := range []router.Config{{Port: taken}, {HealthPort: taken}} {
		cfg.ListenAddress, cfg.NATS = "127.0.0.1", natsx.Config{URL: "nats://127.0.0.1:1"}
		if err := router.Run(t.Context(), cfg, zap.NewNop()); err == nil || !strings.Contains(err.Error(), "in use") {
			t.Error(err)
		}
	}
}

func TestHeadersAreBounded(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	s := start(t, b.server.ClientURL(), http.NotFoundHandler())
	for size, want := range map[int]int{60 << 10: 404, 80 << 10: 431} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://nobody", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.URL.Host = "x.sandbar.test" // leads to the router
		r.Header.Set("X-Long", strings.Repeat("x", size))
		res, err := s.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%d bytes: %s", size, res.Status)
		}
	}
}
