package agent_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/tools/agentstub/internal/agent"
)

const key = "session-key"

func newAgent(t *testing.T, change ...func(*agent.Config)) *agent.Agent {
	t.Helper()
	cfg := agent.Config{
		Ports:      agent.Ports{Agent: 60000, VSCode: 60001, Worker1: 12000, Worker2: 12001},
		SessionKey: key, Dir: t.TempDir(), Argv: []string{"stub", "--port", "60000"},
	}
	for _, f := range change {
		f(&cfg)
	}
	return agent.New(cfg, func(code int) { t.Errorf("exit(%d)", code) })
}

func serve(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server
}

// request sends one with the key and returns status, headers and body.
func request(t *testing.T, h http.Handler, method, target string, body io.Reader, change ...func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, body)
	r.Header.Set("X-Session-API-Key", key)
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func decode[T any](t *testing.T, r io.Reader) T {
	t.Helper()
	var v T
	if err := json.NewDecoder(r).Decode(&v); err != nil {
		t.Fatalf("decode: %v", err)
	}
	return v
}

func noKey(r *http.Request) { r.Header.Del("X-Session-API-Key") }

func TestKey(t *testing.T) {
	t.Parallel()
	h := newAgent(t).Handler()
	tests := map[string]struct {
		target string
		key    string
		want   int
	}{
		"alive is open":                   {"/alive", "", 200},
		"health is open":                  {"/health", "", 200},
		"ready is open":                   {"/ready", "", 200},
		"server_info is open":             {"/server_info", "", 200},
		"echo without key":                {"/api/x", "", 401},
		"echo with wrong key":             {"/api/x", "other", 401},
		"echo with key":                   {"/api/x", key, 200},
		"files without key":               {"/files/x", "", 401},
		"env without key":                 {"/env?name=PATH", "", 401},
		"query is no key on plain paths":  {"/env?name=PATH&session_api_key=" + key, "", 401},
		"a path that only begins as open": {"/alive/x", "", 401},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := request(t, h, "GET", tt.target, nil, func(r *http.Request) { r.Header.Set("X-Session-API-Key", tt.key) })
			if w.Code != tt.want {
				t.Fatalf("status = %d, want %d", w.Code, tt.want)
			}
			if tt.want == 401 && decode[map[string]string](t, w.Body)["detail"] == "" {
				t.Error("no detail")
			}
		})
	}
}

func TestWithoutKeyConfiguredNothingIsOpen(t *testing.T) {
	t.Parallel()
	h := newAgent(t, func(c *agent.Config) { c.SessionKey = "" }).Handler()
	if w := request(t, h, "GET", "/x", nil, noKey); w.Code != 401 {
		t.Errorf("status = %d, want 401", w.Code)
	}
}

func TestEchoTellsWhatArrived(t *testing.T) {
	t.Parallel()
	server := serve(t, newAgent(t).Handler())
	// Byte by byte, because Go's client cleans paths.
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PATCH //a%%2Fb//c/../d%%20e?q=1&q=%%2F HTTP/1.1\r\nHost: label.example.test\r\n"+
		"X-Session-API-Key: %s\r\nX-Two: 1\r\nX-Two: 2\r\nContent-Length: 5\r\n\r\nhello", key)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got := decode[agent.Echo](t, res.Body)
	if got.Method != "PATCH" || got.RawPath != "//a%2Fb//c/../d%20e" {
		t.Errorf("method, path = %q, %q", got.Method, got.RawPath)
	}
	if got.Query != "q=1&q=%2F" || got.Host != "label.example.test" || got.Port != 60000 {
		t.Errorf("query, host, port = %q, %q, %d", got.Query, got.Host, got.Port)
	}
	if strings.Join(got.Headers["X-Two"], ",") != "1,2" {
		t.Errorf("X-Two = %q", got.Headers["X-Two"])
	}
	if got.Body != "hello" || got.BodyBytes != 5 ||
		got.BodySHA256 != "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" {
		t.Errorf("body = %q, %d, %s", got.Body, got.BodyBytes, got.BodySHA256)
	}
	if strings.Join(got.Argv, " ") != "stub --port 60000" {
		t.Errorf("argv = %q", got.Argv)
	}
}

func TestEchoShowsOnlyTheStartOfALargeBody(t *testing.T) {
	t.Parallel()
	w := request(t, newAgent(t).Handler(), "POST", "/x", strings.NewReader(strings.Repeat("x", 100_000)))
	got := decode[agent.Echo](t, w.Body)
	if len(got.Body) != 64<<10 || got.BodyBytes != 100_000 {
		t.Errorf("shown %d, counted %d", len(got.Body), got.BodyBytes)
	}
}

func TestOtherPorts(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	tests := map[string]struct {
		handler  http.Handler
		target   string
		want     int
		wantPort int
	}{
		"VS Code with token":    {a.VSCode(), "/?tkn=" + key + "&folder=%2Fworkspace", 200, 60001},
		"VS Code wrong token":   {a.VSCode(), "/?tkn=x", 403, 0},
		"VS Code without token": {a.VSCode(), "/", 403, 0},
		"worker needs no key":   {a.Worker(12000), "/index.html", 200, 12000},
		"other worker":          {a.Worker(12001), "/", 200, 12001},
		"worker tells no files": {a.Worker(12001), "/files/", 200, 12001},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := request(t, tt.handler, "GET", tt.target, nil, noKey)
			if w.Code != tt.want {
				t.Fatalf("status = %d, want %d", w.Code, tt.want)
			}
			if got := decode[agent.Echo](t, w.Body); got.Port != tt.wantPort {
				t.Errorf("port = %d, want %d", got.Port, tt.wantPort)
			}
		})
	}
}

func TestPreflightNeedsNoKey(t *testing.T) {
	t.Parallel()
	h := newAgent(t).Handler()
	for _, path := range []string{"/cors", "/api/conversations"} {
		w := request(t, h, "OPTIONS", path, nil, noKey, func(r *http.Request) {
			r.Header.Set("Origin", "https://app.example")
			r.Header.Set("Access-Control-Request-Method", "PUT")
			r.Header.Set("Access-Control-Request-Headers", "x-session-api-key")
		})
		for name, want := range map[string]string{
			"Access-Control-Allow-Origin":  "https://app.example",
			"Access-Control-Allow-Methods": "PUT",
			"Access-Control-Allow-Headers": "x-session-api-key",
		} {
			if got := w.Header().Get(name); w.Code != 200 || got != want {
				t.Errorf("%s: %d, %s = %q, want %q", path, w.Code, name, got, want)
			}
		}
	}
	if w := request(t, h, "OPTIONS", "/cors", nil, noKey); w.Code != 401 {
		t.Errorf("an OPTIONS that is no preflight: %d, want 401", w.Code)
	}
}

func TestRedirectKeepsItsTarget(t *testing.T) {
	t.Parallel()
	w := request(t, newAgent(t).Handler(), "GET", "/redirect?to=/a//b%2520c", nil)
	if w.Code != 302 || w.Header().Get("Location") != "/a//b%20c" || w.Header().Get("Set-Cookie") != "stub=1; Path=/" {
		t.Errorf("%d, %q, %q", w.Code, w.Header().Get("Location"), w.Header().Get("Set-Cookie"))
	}
}
