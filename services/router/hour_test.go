package router_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/sandbar-io/sandbar/pkg/run"
	"github.com/sandbar-io/sandbar/services/router"
)

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
	case "/forever":
		_ = flush()
		<-r.Context().Done()
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
	t.Attr("conformance", "63 unit")
	for what, check := range map[string]func(*testing.T, *http.Client, string){
		"WebSocket": hourOfWebSocket, "request": quarterOfRequest, "events": hourOfEvents,
		"upload": hourOfUpload, "unread upload": hourUnread, "idle": reuseAfterIdle,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			inBubbles(t, func(t *testing.T, c *http.Client, url string, _ func()) { check(t, c, url) })
		})
	}
}

// What does not end is ended, and Kubernetes' grace is not used up.
func TestDrainEndsInItsBudget(t *testing.T) {
	t.Parallel()
	inBubbles(t, func(t *testing.T, c *http.Client, url string, stop func()) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/forever", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		read := make(chan error)
		go func() {
			_, err := io.ReadAll(res.Body)
			read <- err
		}()
		begin := time.Now()
		stop()
		if took := time.Since(begin); took < run.DrainTimeout || took > run.UnreadyFor+run.DrainTimeout+time.Second {
			t.Errorf("it took %s", took)
		}
		if err := <-read; err == nil {
			t.Error("the answer looks whole")
		}
	})
}

func hourOfWebSocket(t *testing.T, c *http.Client, url string) {
	if c.Transport.(*http.Transport).Protocols.HTTP2() {
		return // browsers open it by HTTP/1.1
	}
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
	}{{0, 1}, {610 * time.Second, 1}, {router.IdleTimeout + time.Second, 2}} {
		<-time.After(c0.pause)
		exchange(t, c, "GET", url+"/upload", nil)
		if dials != c0.dials {
			t.Errorf("%d connections after a pause of %s, want %d", dials, c0.pause, c0.dials)
		}
	}
}
