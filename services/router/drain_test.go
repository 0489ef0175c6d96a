package router_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// On the way out: not ready, requests under way end well, upgraded connections
// are closed, and what passed last is told.
func TestDrain(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	finish := make(chan struct{})
	s := start(t, b.server.ClientURL(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			c, err := websocket.Accept(w, r, nil)
			if err == nil {
				_, _, _ = c.Read(context.WithoutCancel(r.Context()))
				_ = c.CloseNow()
			}
			return
		}
		_, _ = io.WriteString(w, "first\n")
		_ = http.NewResponseController(w).Flush()
		<-finish
		_, _ = io.WriteString(w, "last\n")
	}))
	b.beat()
	b.set(sandbox.StatusRunning, "127.0.0.1")
	s.want("http://"+s.health+"/readiness", 200)
	res, err := s.client.Get(sandboxURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	lines := bufio.NewReader(res.Body)
	if line, err := lines.ReadString('\n'); line != "first\n" {
		t.Fatal(line, err)
	}
	ws, _, err := websocket.Dial(t.Context(), strings.Replace(sandboxURL, "http", "ws", 1), &websocket.DialOptions{HTTPClient: s.client})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	s.stop()
	if body := s.want("http://"+s.health+"/readiness", 503); !strings.Contains(body, "draining") {
		t.Error(body)
	}
	if _, _, err := ws.Read(t.Context()); err == nil {
		t.Error("the WebSocket is open")
	}
	select {
	case err := <-s.ended:
		t.Fatal("it ended before its request", err)
	default:
	}
	ended := time.Now()
	close(finish)
	if line, err := lines.ReadString('\n'); line != "last\n" {
		t.Error(line, err)
	}
	err = <-s.ended
	s.ended <- err
	if err != nil {
		t.Error(err)
	}
	b.activity(ended)
}
