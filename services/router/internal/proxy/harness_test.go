package proxy_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
	"github.com/sandbar-io/sandbar/services/router/internal/activity"
	"github.com/sandbar-io/sandbar/services/router/internal/proxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	base      = "sandbar.test"
	runtimeID = "abcdefghijklmnop"
	label     = "my-session"
)

// states is a memory of views with a read index of the test's own.
type states struct {
	*views.Memory
	index func(context.Context) error
}

func (s *states) ReadIndex(ctx context.Context) error { return s.index(ctx) }

func confirmed(context.Context) error { return nil }

// world is a router in front of one sandbox.
type world struct {
	testing.TB
	states   *states
	cfg      proxy.Config
	handler  *proxy.Handler
	front    *httptest.Server
	registry *prometheus.Registry
	client   *http.Client
	order    uint64
}

// newWorld starts a router whose sandbox serves agent on all ports that change
// does not set otherwise. The sandbox runs.
func newWorld(t testing.TB, agent http.Handler, change func(*proxy.Config)) *world {
	t.Helper()
	w := unstarted(t, agent, change)
	w.front.Start()
	w.client.Transport = &http.Transport{DisableCompression: true, DialContext: w.dialFront}
	return w
}

func unstarted(t testing.TB, agent http.Handler, change func(*proxy.Config)) *world {
	t.Helper()
	port := serve(t, "127.0.0.1:0", agent)
	w := &world{TB: t, states: &states{views.NewMemory(), confirmed}, registry: prometheus.NewRegistry()}
	w.cfg = proxy.Config{
		Pattern: sandbox.URLPattern{Scheme: "http", BaseDomain: base, Separator: "."},
		Ports:   sandbox.Ports{Agent: port, VSCode: port, Work1: port, Work2: port},
		Views:   w.states, Activity: activity.NewTracker(), Metrics: proxy.NewMetrics(w.registry),
		UpstreamIdle: 4 * time.Second, Log: zap.NewNop(),
	}
	if change != nil {
		change(&w.cfg)
	}
	w.set(sandbox.StatusRunning, "127.0.0.1")
	w.handler = proxy.New(w.cfg)
	w.front = httptest.NewUnstartedServer(w.handler)
	w.front.Config.DisableGeneralOptionsHandler = true
	w.front.Config.RegisterOnShutdown(w.handler.CloseUpgraded)
	w.client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(w.settle)
	return w
}

// dialFront leads all names to the router.
func (w *world) dialFront(ctx context.Context, _, _ string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", w.front.Listener.Addr().String())
}

// settle ends the router: what comes after the answers, as counting, is done.
func (w *world) settle() {
	w.client.CloseIdleConnections()
	w.handler.CloseUpgraded()
	w.front.Close()
	w.handler.Close()
}

// serve serves h and returns the port.
func serve(t testing.TB, address string, h http.Handler) int {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: h, DisableGeneralOptionsHandler: true}}
	srv.Start()
	t.Cleanup(srv.Close)
	return l.Addr().(*net.TCPAddr).Port
}

func pathMode(c *proxy.Config) { c.Pattern.PathMode = true }

// set changes what is known of the sandbox.
func (w *world) set(s sandbox.Status, address string) {
	w.order++
	v := view(s, address)
	v.Order = w.order
	w.states.Merge(v, w.order)
}

func view(s sandbox.Status, address string) *sandbox.View {
	return &sandbox.View{
		Record: sandbox.RecordName("default", label), Tenant: "default", SessionID: label, RuntimeID: runtimeID,
		Status: s, Address: address, Route: sandbox.Route{Label: label},
	}
}

func (w *world) request(method, url string, body io.Reader) *http.Request {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), method, url, body)
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// do sends a request and reads its whole answer.
func (w *world) do(r *http.Request) (*http.Response, string) {
	w.Helper()
	res, err := w.client.Do(r)
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.Fatal(err)
	}
	return res, string(body)
}

func (w *world) get(url string) (*http.Response, string) {
	w.Helper()
	return w.do(w.request(http.MethodGet, url, nil))
}

func agentURL(path string) string { return "http://" + label + "." + base + path }

// isError fails unless the answer is the router's own error with this status.
func isError(t testing.TB, res *http.Response, body string, status int) {
	t.Helper()
	var e struct{ Detail, Error string }
	if err := json.Unmarshal([]byte(body), &e); err != nil || e.Detail == "" || e.Error == "" ||
		res.StatusCode != status || res.Header.Get("Content-Type") != "application/json" {
		t.Errorf("status %d, body %q, want the router's own %d", res.StatusCode, body, status)
	}
	if retry := res.Header.Get("Retry-After"); (retry != "") != (status == http.StatusServiceUnavailable) {
		t.Errorf("status %d with Retry-After %q", status, retry)
	}
}

// metric is the value of a counter or gauge, 0 where it was never touched.
func (w *world) metric(name string, labels ...string) float64 {
	w.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			match := f.GetName() == name && len(m.GetLabel()) == len(labels)
			for i, l := range m.GetLabel() { // sorted by name
				match = match && l.GetValue() == labels[i]
			}
			if match {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}
