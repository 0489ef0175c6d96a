package router_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/certificate"
	"github.com/sandbar-io/sandbar/pkg/certificate/certtest"
	"github.com/sandbar-io/sandbar/pkg/run"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
	"github.com/sandbar-io/sandbar/services/router"
	"github.com/sandbar-io/sandbar/services/router/internal/activity"
	"github.com/sandbar-io/sandbar/services/router/internal/proxy"
)

// wire is a network in memory: inside a bubble an hour on it passes at once.
type wire struct {
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func newWire() *wire { return &wire{accepted: make(chan net.Conn), closed: make(chan struct{})} }

func (w *wire) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case w.accepted <- far:
		return near, nil
	case <-w.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (w *wire) Accept() (net.Conn, error) {
	select {
	case conn := <-w.accepted:
		return conn, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

func (w *wire) Close() error   { w.once.Do(func() { close(w.closed) }); return nil }
func (w *wire) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// oneView is a memory of views that nothing changes.
type oneView struct{ *views.Memory }

func (oneView) ReadIndex(context.Context) error { return nil }

// bubble is the router's own handler and server between a client and a sandbox,
// all in memory. The server is not served yet.
func bubble(t *testing.T, agent http.Handler, pair *certificate.Source) (front *wire, srv *http.Server, hangUp func()) {
	t.Helper()
	memory := views.NewMemory()
	memory.Merge(&sandbox.View{
		Record: sandbox.RecordName("default", session), Tenant: "default", SessionID: session, RuntimeID: runtimeID,
		Status: sandbox.StatusRunning, Address: "10.0.0.1", Route: sandbox.Route{Label: session}, Order: 1,
	}, 1)
	front = newWire()
	back := newWire()
	handler := proxy.New(proxy.Config{
		Pattern: sandbox.URLPattern{Scheme: "https", BaseDomain: "sandbar.test", Separator: "."}, Ports: sandbox.DefaultPorts,
		Views: oneView{memory}, Activity: activity.NewTracker(), Metrics: proxy.NewMetrics(prometheus.NewRegistry()),
		UpstreamIdle: 4 * time.Second, Log: zap.NewNop(), Dial: back.dial,
	})
	// The agent server closes idle connections after 5 s.
	pod := &http.Server{Handler: agent, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 5 * time.Second}
	ended := make(chan error)
	go func() { ended <- pod.Serve(back) }()
	t.Cleanup(func() {
		handler.Close()
		_ = pod.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return front, router.NewServer(handler, pair.Config(), zap.NewNop()), handler.CloseUpgraded
}

// serve serves as the router does, until it is stopped.
func serve(t *testing.T, srv *http.Server, front *wire, hangUp func()) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	g := run.NewGroup(ctx)
	g.Serve(srv, front, func() {}, hangUp)
	ended := make(chan error)
	go func() { ended <- g.Run() }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// inBubbles runs checks by each way in, each in a bubble of its own.
func inBubbles(t *testing.T, check func(t *testing.T, c *http.Client, url string, stop func())) {
	t.Helper()
	a := certtest.New(t)
	files, now := a.Write(t.TempDir(), authorityNames...), time.Now()
	for name, major := range map[string]int{"plain": 0, "TLS, HTTP 1.1": 1, "TLS, HTTP 2": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				protocols, url := &http.Protocols{}, secureURL
				protocols.SetHTTP1(major != 2)
				protocols.SetHTTP2(major == 2)
				var pair *certificate.Source
				if major == 0 {
					url = strings.Replace(url, "https", "http", 1)
				} else {
					var err error
					if pair, err = certificate.Open(files, zap.NewNop()); err != nil {
						t.Fatal(err)
					}
				}
				// The certificate is of the clock outside.
				trust := &tls.Config{RootCAs: a.Pool(), Time: func() time.Time { return now }}
				front, srv, hangUp := bubble(t, patient, pair)
				stop := serve(t, srv, front, hangUp)
				defer stop()
				transport := &http.Transport{DialContext: front.dial, Protocols: protocols, TLSClientConfig: trust}
				defer transport.CloseIdleConnections()
				check(t, &http.Client{Transport: transport}, url, stop)
			})
		})
	}
}
