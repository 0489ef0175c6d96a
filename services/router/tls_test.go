package router_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/net/http2"

	"github.com/sandbar-io/sandbar/pkg/certificate/certtest"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// secured is a router with TLS in front of a sandbox that runs.
type secured struct {
	*service
	bus   *bus
	roots *tls.Config
	dir   string
}

var authorityNames = []string{"sandbar.test", "*.sandbar.test"}

func startSecured(t *testing.T, agent http.Handler) (*secured, *certtest.Authority) {
	t.Helper()
	a, dir, b := certtest.New(t), t.TempDir(), newBus(t)
	files := a.Write(dir, authorityNames...)
	s := &secured{bus: b, dir: dir, roots: &tls.Config{RootCAs: a.Pool()}}
	s.service = start(t, b.server.ClientURL(), agent, "URL_SCHEME=https", "TLS_CERT_FILE="+files.CertFile, "TLS_KEY_FILE="+files.KeyFile)
	b.beat()
	b.set(sandbox.StatusRunning, "127.0.0.1")
	s.want("http://"+s.health+"/readiness", 200)
	return s, a
}

// over is a client that speaks this protocol alone; 0: as the server chooses.
func (s *secured) over(major int) *http.Client {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(major != 2)
	protocols.SetHTTP2(major != 1)
	t := &http.Transport{DialContext: s.dial, TLSClientConfig: s.roots.Clone(), Protocols: protocols}
	s.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t}
}

const secureURL = "https://" + session + ".sandbar.test"

func (s *secured) ask(c *http.Client, url string) (*http.Response, string) {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), http.MethodGet, url, nil)
	if err != nil {
		s.Fatal(err)
	}
	res, err := c.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.Fatal(err)
	}
	return res, string(body)
}

var tellForwarded = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "" {
		if c, err := websocket.Accept(w, r, nil); err == nil {
			_, _, _ = c.Read(context.WithoutCancel(r.Context()))
			_ = c.CloseNow()
		}
		return
	}
	_, _ = io.WriteString(w, r.Header.Get("X-Forwarded-Proto")+" "+r.Host)
})

func TestTLS(t *testing.T) {
	t.Parallel()
	s, a := startSecured(t, tellForwarded)
	for major, want := range map[int]int{0: 2, 1: 1, 2: 2} {
		res, body := s.ask(s.over(major), secureURL+"/")
		if res.ProtoMajor != want || body != "https "+session+".sandbar.test" {
			t.Errorf("%s %s %q", res.Proto, res.Status, body)
		}
	}
	// A browser offers HTTP/1.1 alone for a WebSocket, as RFC 8441 is not announced.
	ws, _, err := websocket.Dial(t.Context(), "wss"+strings.TrimPrefix(secureURL, "https"), &websocket.DialOptions{HTTPClient: s.over(1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	if got, body := s.get("http://" + session + ".sandbar.test/"); got != 400 || !strings.Contains(body, "HTTPS") {
		t.Errorf("plain HTTP: %d %q", got, body)
	}
	// A new certificate reaches new connections; those that are there stay.
	old := s.over(2)
	s.ask(old, secureURL+"/")
	a.Write(s.dir, append(authorityNames, "next.test")...)
	for tick := time.Tick(20 * time.Millisecond); ; <-tick {
		res, _ := s.ask(s.over(2), secureURL+"/")
		if res.TLS.PeerCertificates[0].VerifyHostname("next.test") == nil {
			break
		}
	}
	if res, _ := s.ask(old, secureURL+"/"); res.TLS.PeerCertificates[0].VerifyHostname("next.test") == nil {
		t.Error("the connection was not kept")
	}
}

// On the way out, a client of HTTP/2 is told to open no more requests, and gets
// what it has asked for.
func TestDrainOverHTTP2(t *testing.T) {
	t.Parallel()
	finish := make(chan struct{})
	s, _ := startSecured(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "first\n")
		_ = http.NewResponseController(w).Flush()
		<-finish
		_, _ = io.WriteString(w, "last\n")
	}))
	f := s.frames()
	f.get(1, "/")
	f.until(func(frame http2.Frame) bool {
		data, ok := frame.(*http2.DataFrame)
		return ok && string(data.Data()) == "first\n"
	})
	s.stop()
	f.until(func(frame http2.Frame) bool { _, ok := frame.(*http2.GoAwayFrame); return ok })
	select {
	case err := <-s.ended:
		t.Fatal("it ended before its request", err)
	default:
	}
	close(finish)
	f.until(func(frame http2.Frame) bool {
		data, ok := frame.(*http2.DataFrame)
		return ok && string(data.Data()) == "last\n"
	})
	err := <-s.ended
	s.ended <- err
	if err != nil {
		t.Error(err)
	}
}

// An upload that its sandbox does not read does not stop others of the same
// connection.
func TestAStalledUploadStopsNoOther(t *testing.T) {
	t.Parallel()
	began, release := make(chan struct{}), make(chan struct{})
	s, _ := startSecured(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stalled" {
			close(began)
			<-release
		}
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(w, n)
	}))
	c := s.over(2)
	const size = 16 << 20 // more than all buffers on the way
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	upload := func(path string) string {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, secureURL+path, bytes.NewReader(make([]byte, size)))
		if err != nil {
			return err.Error()
		}
		res, err := c.Do(r)
		if err != nil {
			return err.Error()
		}
		defer func() { _ = res.Body.Close() }()
		body, _ := io.ReadAll(res.Body)
		return string(body)
	}
	stalled := make(chan string)
	go func() { stalled <- upload("/stalled") }()
	<-began
	if got := upload("/other"); got != fmt.Sprint(size) {
		t.Error(got)
	}
	close(release)
	if got := <-stalled; got != fmt.Sprint(size) {
		t.Error(got)
	}
}
