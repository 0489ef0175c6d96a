package router_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

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
