package proxy_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
	"github.com/sandbar-io/sandbar/services/router/internal/proxy"
)

func TestDecide(t *testing.T) {
	t.Parallel()
	const passed = 0
	for _, c := range []struct {
		status      sandbox.Status
		address     string
		confirmed   int
		unconfirmed int
	}{
		{"", "", 404, 503}, // no view
		{sandbox.StatusStopped, "", 404, 503},
		{sandbox.StatusStopped, "127.0.0.1", 404, 503},
		{sandbox.StatusPaused, "", 503, 503},
		{sandbox.StatusPaused, "127.0.0.1", 503, 503},
		{sandbox.StatusStarting, "", 503, 503},
		{sandbox.StatusStarting, "127.0.0.1", 503, 503}, // its pod runs and is not ready
		{sandbox.StatusError, "", 503, 503},
		{sandbox.StatusError, "127.0.0.1", 503, 503},
		{sandbox.StatusRunning, "", 503, 503},
		{sandbox.StatusRunning, "127.0.0.1", passed, passed},
		{sandbox.StatusRunning, "fd00::1", passed, passed},
		{sandbox.StatusRunning, "localhost", 503, 503}, // names are never looked up
		{sandbox.StatusRunning, "0.0.0.0", 503, 503},
		{sandbox.StatusRunning, "224.0.0.1", 503, 503},
		{sandbox.StatusRunning, "fe80::1%lo", 503, 503},
		{"dreaming", "127.0.0.1", 503, 503},
	} {
		var v *sandbox.View
		if c.status != "" {
			v = view(c.status, c.address)
		}
		for sure, want := range map[bool]int{true: c.confirmed, false: c.unconfirmed} {
			got := passed
			if a := proxy.Decide(v, sure); a != nil {
				got = a.Status
			}
			if got != want {
				t.Errorf("%q at %q, confirmed %v: %d, want %d", c.status, c.address, sure, got, want)
			}
		}
	}
}

// Contract 11, checks 23 and 24, by every way in which a request can come.
func TestStatusesOverHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, http.NotFoundHandler(), nil)
	for status, want := range map[sandbox.Status]int{
		sandbox.StatusStarting: 503, sandbox.StatusPaused: 503, sandbox.StatusError: 503, sandbox.StatusStopped: 404,
	} {
		w.set(status, "")
		for _, host := range []string{label, "vscode-" + label, "work-1-" + label, "work-2-" + runtimeID, runtimeID} {
			url := "http://" + host + "." + base + "/x"
			upgrade := w.request("GET", url, nil)
			upgrade.Header.Set("Connection", "Upgrade")
			upgrade.Header.Set("Upgrade", "websocket")
			preflight := w.request("OPTIONS", url, nil)
			preflight.Header.Set("Origin", "http://app")
			for _, r := range []*http.Request{upgrade, preflight, w.request("GET", url, nil), w.request("POST", url, endless{})} {
				res, body := w.do(r)
				isError(t, res, body, want)
			}
		}
	}
	res, body := w.get("http://unknown." + base)
	isError(t, res, body, 404)
	res, body = w.get("http://" + base)
	isError(t, res, body, 404)
}

// endless is a body that the client would send for ever.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestUnconfirmed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, http.NotFoundHandler(), nil)
	w.states.index = func(context.Context) error { return errors.New("NATS is away") }
	res, body := w.get("http://unknown." + base)
	isError(t, res, body, 503)
}

// Memory lags: what is not known to run is looked up again after a read index.
func TestLaggingMemory(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]func(*world){
		"starting": func(w *world) { w.set(sandbox.StatusStarting, "127.0.0.1") },
		"paused":   func(w *world) { w.set(sandbox.StatusPaused, "") },
		"failed":   func(w *world) { w.set(sandbox.StatusError, "") },
		"unknown":  func(w *world) { w.states.Memory = views.NewMemory() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), nil)
			before(w)
			w.states.index = func(context.Context) error { w.set(sandbox.StatusRunning, "127.0.0.1"); return nil }
			if res, body := w.get(agentURL("/alive")); res.StatusCode != 200 {
				t.Errorf("%d %s", res.StatusCode, body)
			}
		})
	}
}

func TestRunningCostsNoReadIndex(t *testing.T) {
	t.Parallel()
	w := newWorld(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), nil)
	w.states.index = func(context.Context) error { t.Error("asked"); return nil }
	if res, _ := w.get(agentURL("/")); res.StatusCode != 200 {
		t.Error(res.Status)
	}
}
