package router_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/certificate"
	"github.com/sandbar-io/sandbar/pkg/certificate/certtest"
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
}

func newWire() *wire { return &wire{make(chan net.Conn), make(chan struct{})} }

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

func (w *wire) Close() error   { close(w.closed); return nil }
func (w *wire) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// oneView is a memory of views that nothing changes.
type oneView struct{ *views.Memory }

func (oneView) ReadIndex(context.Context) error { return nil }

// bubble is the router's own handler and server between a client and a sandbox,
// all in memory.
func bubble(t *testing.T, agent http.Handler, pair *certificate.Source) *wire {
	t.Helper()
	memory := views.NewMemory()
	memory.Merge(&sandbox.View{
		Record: sandbox.RecordName("default", session), Tenant: "default", SessionID: session, RuntimeID: runtimeID,
		Status: sandbox.StatusRunning, Address: "10.0.0.1", Route: sandbox.Route{Label: session}, Order: 1,
	}, 1)
	front, back := newWire(), newWire()
	handler := proxy.New(proxy.Config{
		Pattern: sandbox.URLPattern{Scheme: "https", BaseDomain: "sandbar.test", Separator: "."}, Ports: sandbox.DefaultPorts,
		Views: oneView{memory}, Activity: activity.NewTracker(), Metrics: proxy.NewMetrics(prometheus.NewRegistry()),
		UpstreamIdle: 4 * time.Second, Log: zap.NewNop(), Dial: back.dial,
	})
	// The agent server closes idle connections after 5 s.
	pod := &http.Server{Handler: agent, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 5 * time.Second}
	srv := router.NewServer(handler, pair.Config(), zap.NewNop(), handler.CloseUpgraded)
	ended := make(chan error, 2)
	go func() { ended <- pod.Serve(back) }()
	go func() {
		if srv.TLSConfig != nil {
			ended <- srv.ServeTLS(front, "", "")
			return
		}
		ended <- srv.Serve(front)
	}()
	t.Cleanup(func() {
		handler.CloseUpgraded()
		_ = srv.Close()
		handler.Close()
		_ = pod.Close()
		for range 2 {
			if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		}
	})
	return front
}

// patient is a sandbox that takes its time.
var patient = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	flush := http.NewResponseController(w).Flush
	switch r.URL.Path {
	case "/sockets/events/1":
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = c.CloseNow() }()
		for {
			kind, data, err := c.Read(context.WithoutCancel(r.Context()))
			if err != nil || c.Write(context.WithoutCancel(r.Context()), kind, data) != nil {
				return
			}
		}
	case "/request":
		<-time.After(15 * time.Minute)
		_, _ = io.WriteString(w, "done")
	case "/events":
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 7 {
			_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
			_ = flush()
			<-time.After(10 * time.Minute)
		}
	case "/upload":
		n, err := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(w, n, err)
	case "/slowly": // an upload that is read slowly
		for buf := make([]byte, 1<<20); ; <-time.After(time.Minute) {
			if _, err := io.ReadFull(r.Body, buf); err != nil {
				_, _ = fmt.Fprint(w, err)
				return
			}
		}
	}
})

// Contract 11, check 63.
func TestNothingIsCutWithinAnHour(t *testing.T) {
	t.Parallel()
	a := certtest.New(t)
	files, now := a.Write(t.TempDir(), authorityNames...), time.Now()
	for name, major := range map[string]int{"plain": 0, "TLS, HTTP 1.1": 1, "TLS, HTTP 2": 2} {
		for what, check := range map[string]func(*testing.T, *http.Client, string){
			"WebSocket": hourOfWebSocket, "request": quarterOfRequest, "events": hourOfEvents,
			"upload": hourOfUpload, "unread upload": hourUnread, "idle": reuseAfterIdle,
		} {
			if what == "WebSocket" && major == 2 {
				continue // browsers open it by HTTP/1.1
			}
			t.Run(name+", "+what, func(t *testing.T) {
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
					transport := &http.Transport{DialContext: bubble(t, patient, pair).dial, Protocols: protocols, TLSClientConfig: trust}
					defer transport.CloseIdleConnections()
					check(t, &http.Client{Transport: transport}, url)
				})
			})
		}
	}
}

func hourOfWebSocket(t *testing.T, c *http.Client, url string) {
	ws, _, err := websocket.Dial(t.Context(), strings.Replace(url, "http", "ws", 1)+"/sockets/events/1", &websocket.DialOptions{HTTPClient: c})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	for range 2 { // silent for an hour, then good for one message more
		if err := ws.Write(t.Context(), websocket.MessageText, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, back, err := ws.Read(t.Context()); err != nil || string(back) != "x" {
			t.Fatalf("%q %v", back, err)
		}
		<-time.After(time.Hour)
	}
}

func exchange(t *testing.T, c *http.Client, method, url string, body io.Reader) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func quarterOfRequest(t *testing.T, c *http.Client, url string) {
	if got := exchange(t, c, "POST", url+"/request", strings.NewReader("x")); got != "done" {
		t.Error(got)
	}
}

func hourOfEvents(t *testing.T, c *http.Client, url string) {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	lines, n := bufio.NewScanner(res.Body), 0
	for lines.Scan() {
		if lines.Text() != "" {
			if at := time.Since(begin); at != time.Duration(n)*10*time.Minute {
				t.Errorf("event %d came after %s", n, at)
			}
			n++
		}
	}
	if n != 7 || lines.Err() != nil {
		t.Error(n, lines.Err())
	}
}

// drops are bytes with minutes between them.
type drops struct{ left int }

func (d *drops) Read(p []byte) (int, error) {
	if d.left == 0 {
		return 0, io.EOF
	}
	d.left--
	<-time.After(10 * time.Minute)
	return copy(p, "x"), nil
}

func hourOfUpload(t *testing.T, c *http.Client, url string) {
	if got := exchange(t, c, "PUT", url+"/upload", &drops{7}); got != "7 <nil>" {
		t.Error(got)
	}
}

func hourUnread(t *testing.T, c *http.Client, url string) {
	if got := exchange(t, c, "PUT", url+"/slowly", io.LimitReader(zeros{}, 60<<20)); got != "EOF" {
		t.Error(got)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A load balancer in front reuses a connection for up to 600 s.
func reuseAfterIdle(t *testing.T, c *http.Client, url string) {
	dials := 0
	transport := c.Transport.(*http.Transport)
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials++
		return dial(ctx, network, address)
	}
	for _, c0 := range []struct {
		pause time.Duration
		dials int
	}{{0, 1}, {router.IdleTimeout - time.Second, 1}, {router.IdleTimeout + time.Second, 2}} {
		<-time.After(c0.pause)
		exchange(t, c, "GET", url+"/upload", nil)
		if dials != c0.dials {
			t.Errorf("%d connections after a pause of %s, want %d", dials, c0.pause, c0.dials)
		}
	}
}
