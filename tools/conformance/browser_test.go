//go:build system

package conformance_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

// waysToAll are sandboxes of the installations by all their ways.
func waysToAll(t *testing.T) map[string]sandboxWay {
	t.Helper()
	plain, secure := sharedRunning(t), startSecure(t)
	all := map[string]sandboxWay{"plain": {way{suite.http, plain.URL, 1}, plain}}
	for name, w := range secureWays(t, secure) {
		all[name] = sandboxWay{w, secure}
	}
	return all
}

type sandboxWay struct {
	way
	r client.Runtime
}

func TestCheck64BrowserPreflight(t *testing.T) {
	declare(t, realNode, 64)
	t.Parallel()
	for name, c := range waysToAll(t) {
		letsBrowsers(t, name, client.NewAgent(c.http, c.base, c.r.SessionAPIKey))
	}
}

func TestCheck64BrowsersByEachWay(t *testing.T) {
	declare(t, realNode, 64)
	t.Parallel()
	byEachWay(t, func(t *testing.T, e entrance) {
		r := e.sharedRunning(t)
		letsBrowsers(t, "HTTP as it comes", e.agent(r.URL, r))
		letsBrowsers(t, "HTTP 1.1", e.socket(r.URL, r))
	})
}

// letsBrowsers looks whether a page of another origin may use the sandbox.
func letsBrowsers(t *testing.T, way string, agent client.Agent) {
	t.Helper()
	const origin = "https://app.example.test"
	answer := do(t, agent.Caller, preflight)
	// What only the sandbox knows to say shows that it was asked.
	once(t, way+", preflight", answer, map[string]string{
		"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Methods": "POST",
		"Access-Control-Allow-Headers": "x-session-api-key", "Access-Control-Allow-Credentials": "true", "Vary": "Origin",
	})
	if !answer.OK() {
		t.Errorf("%s: %s", way, answer)
	}
	// A page may read the answer to its request, an error too.
	for status, bare := range map[int]bool{http.StatusOK: false, http.StatusUnauthorized: true} {
		answer := do(t, agent.Caller, client.Request{
			Method: http.MethodPost, Path: "/api/conversations", Bare: bare, Header: http.Header{"Origin": {origin}},
		})
		once(t, fmt.Sprint(way, ", ", status), answer, map[string]string{
			"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true", "Vary": "Origin",
		})
		if answer.Status != status {
			t.Errorf("%s: %s, want %d", way, answer, status)
		}
	}
}

func once(t *testing.T, what string, answer client.Answer, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got := answer.Header.Values(name); len(got) != 1 || got[0] != value {
			t.Errorf("%s: %s is %q, want %q once", what, name, got, value)
		}
	}
}

// targets are what clients put on a request line, byte for byte.
var targets = []string{
	"/", "/a", "/a/", "/a%2Fb", "/a%2fb", "//", "//a//b//", "///", "/a//b", "/a/../b/./c", "/%2e%2e/x", "/a;b=c;d", "/a+b%20c",
	"/\u00e4/\u4e16\u754c", "/%C3%A4/%E4%B8%96", "/?q=\u00e4\u4e16", "/?", "/?a=b;c=d", "/?a=%zz", "/?a=b&&=&c", "/?q=/x?y",
	"/api/file/download/%2Fworkspace%2Fa%20b.txt?path=%2Fworkspace%2F..%2Fx", "//?tkn=k&folder=%2Fworkspace%2Fproject",
	"/" + strings.Repeat("long/", 1000) + "?" + strings.Repeat("q=%2F&", 4000),
}

func TestCheck65TargetsArriveUnchanged(t *testing.T) {
	declare(t, realNode, 65)
	t.Parallel()
	for name, c := range waysToAll(t) {
		u := try(url.Parse(c.base)).or(t)
		for _, target := range targets {
			var body []byte
			if c.proto == 2 {
				body = sendOpaque(t, c.way, u, target, c.r.SessionAPIKey)
			} else {
				body = sendRaw(t, c.way, u, target, c.r.SessionAPIKey)
			}
			var echo client.Echo
			if err := json.Unmarshal(body, &echo); err != nil {
				t.Fatalf("%s: %.80q: %v: %.200s", name, target, err, body)
			}
			path, query, _ := strings.Cut(target, "?")
			if echo.RawPath != path || echo.Query != query {
				t.Errorf("%s: %.80q arrived as %.80q with the query %.80q", name, target, echo.RawPath, echo.Query)
			}
		}
	}
}

// sendRaw writes the request line itself.
func sendRaw(t *testing.T, w way, u *url.URL, target, key string) []byte {
	t.Helper()
	router := try(url.Parse(suite.RouterURL)).or(t)
	conn := try((&net.Dialer{}).DialContext(t.Context(), "tcp", net.JoinHostPort(router.Hostname(), u.Port()))).or(t)
	defer func() { _ = conn.Close() }()
	if u.Scheme == "https" {
		cfg := w.http.Transport.(*http.Transport).TLSClientConfig.Clone()
		cfg.ServerName, cfg.NextProtos = u.Hostname(), []string{"http/1.1"}
		conn = tls.Client(conn, cfg)
	}
	if _, err := fmt.Fprintf(conn, "GET %s%s HTTP/1.1\r\nHost: %s\r\nX-Session-API-Key: %s\r\n\r\n", u.Path, target, u.Host, key); err != nil {
		t.Fatal(err)
	}
	res := try(http.ReadResponse(bufio.NewReader(conn), nil)).or(t)
	defer func() { _ = res.Body.Close() }()
	return try(io.ReadAll(res.Body)).or(t)
}

// sendOpaque makes Go's client take the target as it is for :path.
func sendOpaque(t *testing.T, w way, u *url.URL, target, key string) []byte {
	t.Helper()
	request := try(http.NewRequestWithContext(t.Context(), http.MethodGet, u.String(), nil)).or(t)
	request.URL.Opaque = "//" + u.Host + u.Path + target
	request.Header.Set("X-Session-API-Key", key)
	res := try(w.http.Do(request)).or(t)
	defer func() { _ = res.Body.Close() }()
	return try(io.ReadAll(res.Body)).or(t)
}
