package router_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

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

// frames speaks HTTP/2 frame by frame.
type frames struct {
	*secured
	*http2.Framer
	settings map[http2.SettingID]uint32
}

func (s *secured) frames() *frames {
	s.Helper()
	cfg := s.roots.Clone()
	cfg.ServerName, cfg.NextProtos = session+".sandbar.test", []string{"h2"}
	raw, err := net.Dial("tcp", s.traffic)
	if err != nil {
		s.Fatal(err)
	}
	conn := tls.Client(raw, cfg)
	s.Cleanup(func() { _ = raw.Close() })
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		s.Fatal(err)
	}
	f := &frames{s, http2.NewFramer(conn, bufio.NewReader(conn)), map[http2.SettingID]uint32{}}
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.must(f.WriteSettings())
	f.until(func(frame http2.Frame) bool {
		settings, ok := frame.(*http2.SettingsFrame)
		if !ok || settings.IsAck() {
			return false
		}
		f.must(settings.ForeachSetting(func(s http2.Setting) error { f.settings[s.ID] = s.Val; return nil }))
		return true
	})
	f.must(f.WriteSettingsAck())
	return f
}

func (f *frames) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *frames) until(found func(http2.Frame) bool) {
	f.Helper()
	for {
		frame, err := f.ReadFrame()
		f.must(err)
		if found(frame) {
			return
		}
	}
}

func (f *frames) get(stream uint32, path string, more ...string) {
	f.Helper()
	f.open(stream, append([]string{":method", "GET", ":scheme", "https", ":authority", session + ".sandbar.test", ":path", path}, more...)...)
}

// open sends a request that has no body.
func (f *frames) open(stream uint32, pairs ...string) {
	f.Helper()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := 0; i < len(pairs); i += 2 {
		f.must(encoder.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}))
	}
	const piece = 16 << 10
	first := block.Next(piece)
	f.must(f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: first, EndStream: true, EndHeaders: block.Len() == 0}))
	for block.Len() > 0 {
		fragment := block.Next(piece)
		f.must(f.WriteContinuation(stream, block.Len() == 0, fragment))
	}
}

// outcome is the status of a stream, or its reset.
func (f *frames) outcome(stream uint32) (out string) {
	f.Helper()
	f.until(func(frame http2.Frame) bool {
		if frame.Header().StreamID != stream {
			return false
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			out = frame.PseudoValue("status")
		case *http2.RSTStreamFrame:
			out = frame.ErrCode.String()
		}
		return out != ""
	})
	return out
}

// What the server says of itself, and what a hostile client gets: each stream ends
// by itself, and the connection goes on.
func TestHostileStreams(t *testing.T) {
	t.Parallel()
	s, _ := startSecured(t, tellForwarded)
	f := s.frames()
	if _, announced := f.settings[http2.SettingEnableConnectProtocol]; announced {
		t.Error("WebSockets over HTTP/2 are announced")
	}
	if f.settings[http2.SettingMaxConcurrentStreams] != 250 || f.settings[http2.SettingInitialWindowSize] != 1<<20 ||
		f.settings[http2.SettingMaxFrameSize] != 64<<10 {
		t.Errorf("settings %v", f.settings)
	}
	host := session + ".sandbar.test"
	common := []string{":method", "GET", ":scheme", "https", ":authority", host}
	stream := uint32(1)
	for name, c := range map[string]struct {
		pairs []string
		want  string
	}{
		"a request":              {append(common, ":path", "/"), "200"},
		"no URL":                 {append(common, ":path", "/%"), "PROTOCOL_ERROR"},
		"no path":                {append(common, ":path", ""), "PROTOCOL_ERROR"},
		"another scheme":         {append(common, ":path", "ftp://x/"), "400"},
		"host for authority":     {[]string{":method", "GET", ":scheme", "https", ":path", "/", "host", host}, "200"},
		"another host beside it": {append(common, ":path", "/", "host", "evil.test"), "200"},
		"no host":                {[]string{":method", "GET", ":scheme", "https", ":path", "/"}, "421"},
		"user in the authority":  {[]string{":method", "GET", ":scheme", "https", ":path", "/", ":authority", "u@" + host}, "PROTOCOL_ERROR"},
		"an upgrade":             {append(common, ":path", "/", "connection", "upgrade", "upgrade", "websocket"), "400"},
		"CONNECT":                {[]string{":method", "CONNECT", ":authority", "10.0.0.1:22"}, "405"},
		"a WebSocket":            {[]string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", host, ":path", "/"}, "PROTOCOL_ERROR"},
		"long headers":           {append(common, ":path", "/", "x-long", strings.Repeat("x", 60<<10)), "200"},
		"too long headers":       {append(append(common, ":path", "/"), slices.Repeat([]string{"x-long", strings.Repeat("x", 8<<10)}, 9)...), "431"},
	} {
		f.open(stream, c.pairs...)
		if got := f.outcome(stream); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		stream += 2
	}
	f.get(stream, "/")
	if got := f.outcome(stream); got != "200" {
		t.Error("the connection is gone: ", got)
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
	upload := func(path string) string {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, secureURL+path, bytes.NewReader(make([]byte, size)))
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
