package limit_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/sandbar-io/sandbar/pkg/natsx/natstest"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/limit"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func body(t *testing.T, url string) []byte {
	t.Helper()
	resp, err := http.Get(url)
	must(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	must(t, err)
	return b
}

func TestProxyPassesOn(t *testing.T) {
	t.Parallel()
	up := httptest.NewServer(limit.Upstream())
	defer up.Close()
	target, err := url.Parse(up.URL)
	must(t, err)
	proxy := httptest.NewServer(limit.Proxy(target))
	defer proxy.Close()
	if got := body(t, proxy.URL+"/small"); string(got) != `{"status":"ok"}` {
		t.Errorf("small: %q", got)
	}
	if got := body(t, proxy.URL+"/big"); len(got) != limit.BigBody {
		t.Errorf("big: %d bytes", len(got))
	}
	c, _, err := websocket.Dial(t.Context(), strings.Replace(proxy.URL, "http", "ws", 1)+"/echo", nil)
	must(t, err)
	defer func() { _ = c.CloseNow() }()
	must(t, c.Write(t.Context(), websocket.MessageText, []byte("hello")))
	if _, got, err := c.Read(t.Context()); err != nil || string(got) != "hello" {
		t.Errorf("echo: %q %v", got, err)
	}
}

func TestPreparedAnswers(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(limit.Prepared([]byte("[1]")))
	defer s.Close()
	if got := body(t, s.URL+"/anything"); !bytes.Equal(got, []byte("[1]")) {
		t.Errorf("%q", got)
	}
}

func TestServeSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"other"}, {"prepared", "127.0.0.1:0", "/does/not/exist"}, {"proxy", "127.0.0.1:0", ":"}, {"upstream", "nowhere"}} {
		if err := limit.Serve(args); err == nil {
			t.Errorf("%q is served", args)
		}
	}
}

func TestBusReplies(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, server.Options{})
	b, err := limit.NewBus(t.Context(), s.ClientURL(), []byte("a command"), []byte("a reply"))
	must(t, err)
	defer b.Close()
	for range 100 {
		must(t, b.Ask(t.Context()))
	}
}
