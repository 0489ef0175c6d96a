package proxy_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/router/internal/activity"
	"github.com/sandbar-io/sandbar/services/router/internal/proxy"
)

// reports is a store that keeps what it is told.
type reports map[string]contract.Activity

func (r reports) Put(_ context.Context, key string, a contract.Activity) error {
	r[key] = a
	return nil
}

func (w *world) activity() contract.Activity {
	got := reports{}
	ctx, cancel := context.WithCancel(w.Context())
	cancel() // reports at once
	known := func(id string) bool { return w.states.Runtime(id) != nil }
	_ = activity.NewReporter(w.cfg.Activity, got, known, zap.NewNop()).Run(ctx)
	return got[contract.ViewKey("default", sandbox.RecordName("default", label))]
}

func TestTrafficIsActivity(t *testing.T) {
	t.Parallel()
	w := newWorld(t, echo, nil)
	if got := w.activity(); got.RuntimeID != "" {
		t.Errorf("before: %+v", got)
	}
	before := time.Now()
	w.get(agentURL("/"))
	w.settle()
	if got := w.activity(); got.RuntimeID != runtimeID || got.Last.Before(before) || got.Last.After(time.Now()) {
		t.Errorf("%+v", got)
	}
	// A refused request is none.
	p := newWorld(t, echo, nil)
	p.set(sandbox.StatusPaused, "")
	p.get(agentURL("/"))
	if got := p.activity(); got.RuntimeID != "" {
		t.Errorf("paused: %+v", got)
	}
}

// Who only asks whether a sandbox is well does not keep it from being idle.
func TestProbesAreNoActivity(t *testing.T) {
	t.Parallel()
	agent, under := agentURL(""), "http://"+base+mount
	var subdomain func(*proxy.Config)
	path := pathMode
	for _, c := range []struct {
		mode        func(*proxy.Config)
		method, url string
		counts      bool
	}{
		{subdomain, "GET", agent + "/alive", false},
		{subdomain, "HEAD", agent + "/alive", false},
		{subdomain, "GET", agent + "/health", false},
		{subdomain, "GET", agent + "/ready", false},
		{subdomain, "GET", agent + "/server_info?verbose=1", false},
		{path, "GET", under + "/alive", false},
		{path, "HEAD", under + "/server_info", false},
		{subdomain, "POST", agent + "/alive", true},
		{subdomain, "OPTIONS", agent + "/health", true},
		{subdomain, "GET", agent + "/alive/", true},
		{subdomain, "GET", agent + "//alive", true},
		{subdomain, "GET", agent + "/%61live", true},
		{subdomain, "GET", agent + "/api/alive", true},
		{subdomain, "GET", agent + "/", true},
		{subdomain, "GET", "http://vscode-" + label + "." + base + "/alive", true},
		{subdomain, "GET", "http://work-1-" + label + "." + base + "/health", true},
		{path, "GET", "http://" + base + root + "/work-2/alive", true},
		{path, "GET", "http://" + base + root + "/vscode/alive", true},
	} {
		w := newWorld(t, mirror, c.mode)
		res, _ := w.do(w.request(c.method, c.url, nil))
		if counted := w.cfg.Activity.Len() > 0; counted != c.counts || res.StatusCode != 200 {
			t.Errorf("%s %s: %s, counts: %v, want %v", c.method, c.url, res.Status, counted, c.counts)
		}
	}
	// A WebSocket counts wherever it is.
	w := newWorld(t, echo, nil)
	w.get(agentURL("/alive"))
	if n := w.cfg.Activity.Len(); n != 0 {
		t.Errorf("%d sandboxes after a probe", n)
	}
	roundTrip(t, w.dial(agentURL("/alive")), []byte("x"))
	if n := w.cfg.Activity.Len(); n != 1 {
		t.Errorf("%d sandboxes after a WebSocket", n)
	}
}

// Long after its request began, each byte of a stream counts, either way.
func TestStreamsAreActivity(t *testing.T) {
	t.Parallel()
	drip := func(w io.Writer, stop <-chan struct{}) {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if _, err := w.Write([]byte("x")); err != nil {
					return
				}
				if w, ok := w.(http.ResponseWriter); ok {
					_ = http.NewResponseController(w).Flush()
				}
			case <-stop:
				return
			}
		}
	}
	for name, open := range map[string]func(t *testing.T, stop <-chan struct{}) *world{
		"download": func(t *testing.T, stop <-chan struct{}) *world {
			w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { drip(w, stop) }), nil)
			res, err := w.client.Do(w.request("GET", agentURL("/"), nil))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = res.Body.Close() })
			return w
		},
		"upload": func(t *testing.T, stop <-chan struct{}) *world {
			began := make(chan struct{})
			w := newWorld(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				close(began)
				_, _ = io.Copy(io.Discard, r.Body)
			}), nil)
			body, send := io.Pipe()
			go func() { drip(send, stop); _ = send.Close() }()
			done := make(chan struct{})
			r := w.request("POST", agentURL("/"), body)
			go func() {
				defer close(done)
				if res, err := w.client.Do(r); err == nil { // else the test ended first
					_ = res.Body.Close()
				}
			}()
			t.Cleanup(func() { <-done })
			<-began
			return w
		},
		"from a client's WebSocket": func(t *testing.T, stop <-chan struct{}) *world {
			w := newWorld(t, switchTo("raw", "Upgrade"), nil)
			go drip(upgradedTo(t, w, "raw"), stop)
			return w
		},
		"to a client's WebSocket": func(t *testing.T, stop <-chan struct{}) *world {
			w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				conn, _, _ := http.NewResponseController(w).Hijack()
				defer func() { _ = conn.Close() }()
				_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
				drip(conn, stop)
			}), nil)
			upgradedTo(t, w, "raw")
			return w
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stop := make(chan struct{})
			w := open(t, stop)
			defer close(stop)
			first := w.activity().Last
			deadline := time.Now().Add(10 * time.Second)
			for tick := time.Tick(20 * time.Millisecond); !w.activity().Last.After(first); <-tick {
				if time.Now().After(deadline) {
					t.Fatal("its bytes do not count")
				}
			}
		})
	}
}
