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
