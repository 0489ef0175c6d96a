package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// echo is a WebSocket server that sends back what it gets; /bye closes at once.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") == "" {
		_, _ = io.WriteString(w, "plain")
		return
	}
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{OriginPatterns: []string{"app.test"}, Subprotocols: []string{"p2"}})
	if err != nil {
		return
	}
	defer func() { _ = c.CloseNow() }()
	c.SetReadLimit(-1)
	if strings.HasSuffix(r.URL.Path, "/bye") {
		_ = c.Close(websocket.StatusGoingAway, "bye")
		return
	}
	for {
		kind, data, err := c.Read(context.WithoutCancel(r.Context()))
		if err != nil {
			return
		}
		if err := c.Write(context.WithoutCancel(r.Context()), kind, data); err != nil {
			return
		}
	}
})

func (w *world) dial(url string) *websocket.Conn {
	w.Helper()
	c, _, err := websocket.Dial(w.Context(), strings.Replace(url, "http", "ws", 1), &websocket.DialOptions{
		HTTPClient: w.client, Subprotocols: []string{"p1", "p2"}, HTTPHeader: http.Header{"Origin": {"http://app.test"}},
	})
	if err != nil {
		w.Fatal(err)
	}
	c.SetReadLimit(-1)
	w.Cleanup(func() { _ = c.CloseNow() })
	return c
}

func roundTrip(t *testing.T, c *websocket.Conn, data []byte) {
	t.Helper()
	go func() { _ = c.Write(t.Context(), websocket.MessageBinary, data) }()
	if _, got, err := c.Read(t.Context()); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%.100q %v", got, err)
	}
}

func TestWebSocket(t *testing.T) {
	t.Parallel()
	for name, w := range map[string]*world{"subdomain": newWorld(t, echo, nil), "path": newWorld(t, echo, pathMode)} {
		url := agentURL("/sockets/events/1")
		if name == "path" {
			url = "http://" + base + mount + "/sockets/events/1"
		}
		c := w.dial(url)
		if c.Subprotocol() != "p2" {
			t.Errorf("protocol %q", c.Subprotocol())
		}
		roundTrip(t, c, []byte("hello"))
		roundTrip(t, c, make([]byte, big))
		if n := w.metric("sandbar_router_requests_in_flight", "agent"); n != 1 {
			t.Errorf("%v in flight", n)
		}
		_ = c.Close(websocket.StatusNormalClosure, "")
		_, _, err := w.dial(url + "/bye").Read(t.Context())
		if websocket.CloseStatus(err) != websocket.StatusGoingAway {
			t.Error(err)
		}
	}
}

// The HTTP server does not know of upgraded connections when it drains.
func TestUpgradedConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, echo, nil)
	c := w.dial(agentURL("/"))
	roundTrip(t, c, []byte("x"))
	w.handler.CloseUpgraded()
	if _, _, err := c.Read(t.Context()); err == nil {
		t.Error("it is open")
	}
	late, _, err := websocket.Dial(t.Context(), strings.Replace(agentURL("/"), "http", "ws", 1), &websocket.DialOptions{HTTPClient: w.client})
	if err == nil {
		t.Error("one was opened after")
		_ = late.CloseNow()
	}
	w.handler.Close() // returns: nothing is under way
	if res, _ := w.get(agentURL("/")); res.StatusCode != 200 {
		t.Error(res.Status)
	}
}

// upgradedTo opens a connection to the sandbox that switches protocols; early
// goes right behind the request.
func upgradedTo(t *testing.T, w *world, protocol string, early ...byte) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", w.front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_, _ = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s.%s\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n%s", label, base, protocol, early)
	r := bufio.NewReaderSize(conn, 1<<10)
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != 101 {
		t.Fatal(res, err)
	}
	_ = res.Body.Close()
	return conn
}

// What a client sends right behind its request is not lost, and it may end its
// side first.
func TestEarlyBytesOfAnUpgrade(t *testing.T) {
	t.Parallel()
	w := newWorld(t, switchTo("raw", "Upgrade"), nil)
	conn := upgradedTo(t, w, "raw", []byte("early")...)
	_, _ = io.WriteString(conn, " late")
	_ = conn.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(conn); string(got) != "EARLY LATE" || err != nil {
		t.Errorf("%q %v", got, err)
	}
}

// The sandbox may end its side first, too.
func TestSandboxEndsItsSideOfAnUpgrade(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, _ := http.NewResponseController(w).Hijack()
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
		_ = conn.(*net.TCPConn).CloseWrite()
		rest, _ := io.ReadAll(rw)
		got <- string(rest)
	}), nil)
	conn := upgradedTo(t, w, "raw")
	if rest, err := io.ReadAll(conn); len(rest) != 0 || err != nil {
		t.Errorf("%q %v", rest, err)
	}
	_, _ = io.WriteString(conn, "still here")
	_ = conn.Close()
	if rest := <-got; rest != "still here" {
		t.Errorf("%q", rest)
	}
}

// switchTo changes protocols whether it was asked or not, reads to the end of
// what the client sends and answers then.
func switchTo(protocol, connection string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: %s\r\nUpgrade: %s\r\n\r\n", connection, protocol)
		got, _ := io.ReadAll(rw)
		_, _ = conn.Write(bytes.ToUpper(got))
	})
}

func TestSwitchThatWasNotAsked(t *testing.T) {
	t.Parallel()
	for name, sandbox := range map[string]http.Handler{
		"another protocol": switchTo("raw", "Upgrade"), "none": switchTo("", "Upgrade"), "no connection": switchTo("websocket", "close"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan struct{})
			w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				sandbox.ServeHTTP(w, r)
				ended <- struct{}{} // the connection is not left open
			}), nil)
			for _, asked := range []string{"", "websocket"} {
				if name == "no connection" && asked == "" {
					continue
				}
				r := w.request("GET", agentURL("/"), nil)
				if asked != "" {
					r.Header.Set("Connection", "Upgrade")
					r.Header.Set("Upgrade", asked)
				}
				res, body := w.do(r)
				isError(t, res, body, 502)
				<-ended
			}
		})
	}
}
