package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/router/internal/proxy"
)

// closed is a port on which nothing listens.
func closed(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// silent takes a request, and ends the connection without an answer once told.
type silent struct{ began, end chan struct{} }

func newSilent() silent { return silent{make(chan struct{}), make(chan struct{})} }

func (s silent) ServeHTTP(http.ResponseWriter, *http.Request) {
	s.began <- struct{}{}
	<-s.end
	panic(http.ErrAbortHandler)
}

// Contract 11, checks 23 to 25: the state decides what a request is told whose
// sandbox goes away under it. A client resumes on 503 only.
func TestStateChangesUnderARequest(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, newWorld newWorldFunc) {
		confirm := func(f func(*world)) func(*world) error { return func(w *world) error { f(w); return nil } }
		for name, c := range map[string]struct {
			meanwhile func(*world) error // what the read index learns
			status    int
		}{
			"nothing":            {confirm(func(*world) {}), 502},
			"paused":             {confirm(func(w *world) { w.set(sandbox.StatusPaused, "") }), 503},
			"starting":           {confirm(func(w *world) { w.set(sandbox.StatusStarting, "") }), 503},
			"failed":             {confirm(func(w *world) { w.set(sandbox.StatusError, "") }), 503},
			"another pod":        {confirm(func(w *world) { w.set(sandbox.StatusRunning, "127.0.0.2") }), 503},
			"stopped":            {confirm(func(w *world) { w.set(sandbox.StatusStopped, "") }), 404},
			"NATS away":          {func(*world) error { return errors.New("away") }, 502},
			"paused, NATS away":  {func(w *world) error { w.set(sandbox.StatusPaused, ""); return errors.New("away") }, 503},
			"stopped, NATS away": {func(w *world) error { w.set(sandbox.StatusStopped, ""); return errors.New("away") }, 503},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				agent := newSilent()
				w := newWorld(t, agent, nil)
				w.states.index = func(context.Context) error { return c.meanwhile(w) }
				go func() { <-agent.began; close(agent.end) }()
				// One with a body, so that no one sends it twice.
				res, body := w.do(w.request("POST", agentURL("/"), http.NoBody))
				isError(t, res, body, c.status)
				if n := w.metric("sandbar_router_upstream_errors_total", "transport"); n != 1 {
					t.Errorf("counted %v", n)
				}
			})
		}
	})
}

func TestNothingListens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, mirror, func(c *proxy.Config) { c.Ports.Work1 = closed(t) })
	res, body := w.get("http://work-1-" + label + "." + base)
	isError(t, res, body, 502)
	w.states.index = func(context.Context) error { w.set(sandbox.StatusPaused, ""); return nil }
	res, body = w.get("http://work-1-" + label + "." + base)
	isError(t, res, body, 503)
	w.settle()
	if w.metric("sandbar_router_upstream_errors_total", "dial") != 2 || w.metric("sandbar_router_requests_total", "5xx", "work-1") != 2 {
		t.Error("not counted")
	}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	for want, err := range map[int]error{
		504: fmt.Errorf("x: %w", &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}),
		502: &net.OpError{Op: "dial", Err: errors.New("refused")},
	} {
		if _, a := proxy.Classify(err); a.Status != want {
			t.Errorf("%v: %d", err, a.Status)
		}
	}
	if reason, a := proxy.Classify(io.EOF); a.Status != 502 || reason != "transport" {
		t.Error(reason, a)
	}
}

// An answer that breaks off breaks off at the client too: it never looks whole.
func TestAnswersThatBreakOff(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, newWorld newWorldFunc) {
		for name, length := range map[string]string{"with a length": "10", "chunked": ""} {
			w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if length != "" {
					w.Header().Set("Content-Length", length)
				}
				_, _ = io.WriteString(w, "half")
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			}), nil)
			res, err := w.client.Do(w.request("GET", agentURL("/"), nil))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(res.Body); string(got) != "half" || err == nil {
				t.Errorf("%s: %q %v", name, got, err)
			}
			_ = res.Body.Close()
			w.settle()
			if n := w.metric("sandbar_router_requests_total", "aborted", "agent"); n != 1 {
				t.Errorf("%s: counted %v", name, n)
			}
		}
	})
}

// A client that goes away ends its request at the sandbox.
func TestClientGoesAway(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, newWorld newWorldFunc) {
		began, ended := make(chan struct{}), make(chan struct{})
		w := newWorld(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(began)
			<-r.Context().Done()
			close(ended)
		}), nil)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-began; cancel() }()
		res, err := w.client.Do(w.request("GET", agentURL("/"), nil).WithContext(ctx))
		if err == nil {
			_ = res.Body.Close()
		}
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		<-ended
		w.settle()
		if n := w.metric("sandbar_router_requests_total", "aborted", "agent"); n != 1 {
			t.Errorf("counted %v", n)
		}
	})
}

// What is wrong with the client's body is not the sandbox's fault.
func TestMalformedBody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, mirror, nil)
	res, body := w.raw("POST / HTTP/1.1\r\nHost: " + label + "." + base + "\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n\r\n")
	isError(t, res, body, 400)
	res, body = w.raw("GET / HTTP/1.1\r\nHost: " + label + "." + base + "\r\nConnection: Upgrade\r\nUpgrade: \xff\r\n\r\n")
	isError(t, res, body, 400)
}
