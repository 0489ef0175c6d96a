//go:build system

package conformance_test

import (
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

// way is how clients come to one sandbox.
type way struct {
	http  *http.Client
	base  string // of the agent server
	proto int
}

func secureHTTP(t *testing.T, http1 bool) *http.Client {
	t.Helper()
	if suite.TLS.APIURL == "" || suite.TLS.CAFile == "" {
		t.Fatal("TLS_API_URL or TLS_CA_FILE is empty: this check needs an installation with TLS")
	}
	c := try(client.NewSecure(suite.BaseDomain, suite.TLS.RouterURL, suite.TLS.CAFile, http1)).or(t)
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// startSecure starts a sandbox of the installation with TLS, by its API over TLS.
func startSecure(t *testing.T) client.Runtime {
	t.Helper()
	api := client.NewAPI(secureHTTP(t, false), suite.TLS.APIURL, suite.TLS.APIKey)
	return startReady(t, api, startBody(t, "v1a", newSession()))
}

// secureWays are all ways to a sandbox of the installation with TLS.
func secureWays(t *testing.T, r client.Runtime) map[string]way {
	t.Helper()
	two, one := secureHTTP(t, false), secureHTTP(t, true)
	path := try(url.Parse(suite.TLS.PathRouterURL)).or(t)
	under := "https://" + suite.BaseDomain + ":" + path.Port() + "/" + r.RuntimeID + "/runtime"
	return map[string]way{
		"TLS, HTTP 2": {two, r.URL, 2}, "TLS, HTTP 1.1": {one, r.URL, 1},
		"TLS, HTTP 2, path": {two, under, 2}, "TLS, HTTP 1.1, path": {one, under, 1},
	}
}

func (w way) service(r client.Runtime, name string) string {
	r.URL = w.base
	if name == "agent" {
		return w.base
	}
	return r.ServiceURL(name)
}

func TestCheck27SiblingHostsOverTLS(t *testing.T) {
	declare(t, realNode, 27)
	t.Parallel()
	r := startSecure(t)
	if !strings.HasPrefix(r.URL, "https://") {
		t.Fatalf("url %s, want https", r.URL)
	}
	for name, w := range secureWays(t, r) {
		for service, port := range map[string]int{"agent": 60000, "vscode": 60001, "work-1": 12000, "work-2": 12001} {
			base := w.service(r, service)
			query := "tkn=" + url.QueryEscape(r.SessionAPIKey) + "&folder=%2Fworkspace%2Fproject"
			agent := client.NewAgent(w.http, base, r.SessionAPIKey)
			echo := try(agent.Echo(t.Context(), client.Request{Path: "/a%2Fb//c?" + query, Header: http.Header{
				"X-API-Key": {suite.TLS.APIKey}, "X-Forwarded-Proto": {"http"},
			}})).or(t)
			if echo.Port != port || echo.Query != query || !strings.HasSuffix(echo.RawPath, "/a%2Fb//c") {
				t.Errorf("%s, %s: port %d, path %s, query %s", name, service, echo.Port, echo.RawPath, echo.Query)
			}
			if echo.Headers.Get("X-Forwarded-Proto") != "https" || echo.Headers.Get("X-Forwarded-Host") != try(url.Parse(base)).or(t).Host {
				t.Errorf("%s, %s: the sandbox is told %v", name, service, echo.Headers)
			}
			if _, there := echo.Headers["X-Api-Key"]; there {
				t.Errorf("%s, %s: X-API-Key came through", name, service)
			}
			if service != "vscode" && w.proto == 1 {
				if back := try(agent.WebSocketEcho(t.Context(), "/ws", service)).or(t); back != service {
					t.Errorf("%s, WebSocket on %s: %q", name, service, back)
				}
			}
		}
	}
	for host, port := range r.WorkHosts {
		if !strings.HasPrefix(host, "https://work-") {
			t.Errorf("work_hosts has %s: %d", host, port)
		}
	}
	certificates(t, r)
}

// certificates looks whether the chain is what makes the calls above succeed, and
// which protocol a client is given.
func certificates(t *testing.T, r client.Runtime) {
	t.Helper()
	var unknown x509.UnknownAuthorityError
	if _, err := agentOf(r).Do(t.Context(), client.Request{Path: "/alive"}); !errors.As(err, &unknown) {
		t.Errorf("without the authority: %v", err)
	}
	var name x509.HostnameError
	agent := client.NewAgent(secureHTTP(t, false), suite.TLS.RouterURL, "") // by address, which the certificate does not name
	if _, err := agent.Do(t.Context(), client.Request{Path: "/alive"}); !errors.As(err, &name) {
		t.Errorf("by address: %v", err)
	}
	for way, w := range secureWays(t, r) {
		request := try(http.NewRequestWithContext(t.Context(), http.MethodGet, w.base+"/alive", nil)).or(t)
		res := try(w.http.Do(request)).or(t)
		_ = res.Body.Close()
		if res.ProtoMajor != w.proto || res.StatusCode != http.StatusOK {
			t.Errorf("%s: %s %s", way, res.Proto, res.Status)
		}
	}
	if back := do(t, client.Caller{HTTP: secureHTTP(t, false), Base: suite.TLS.APIURL}, client.Request{Path: "/health"}); !back.OK() {
		t.Error(back)
	}
}

// V1a puts the session key behind what it derives, and nothing else.
func TestCheck29NaiveEditorLink(t *testing.T) {
	declare(t, realNode, 29)
	t.Parallel()
	plain, other := sharedRunning(t), startReady(t, defaultAPI(), startBody(t, "v1a", newSession()))
	secure := startSecure(t)
	for name, c := range map[string]struct {
		r    client.Runtime
		http *http.Client
	}{"plain": {plain, suite.http}, "TLS, HTTP 2": {secure, secureHTTP(t, false)}, "TLS, HTTP 1.1": {secure, secureHTTP(t, true)}} {
		if key := c.r.SessionAPIKey; url.QueryEscape(key) != key {
			t.Errorf("%s: the key must be escaped in a URL, which V1a does not do", name)
		}
		open := func(query string) client.Answer {
			t.Helper()
			return do(t, client.Caller{Base: c.r.NaiveServiceURL("vscode"), HTTP: c.http}, client.Request{Path: query})
		}
		folder := "&folder=%2Fworkspace%2Fproject"
		answer := open("/?tkn=" + c.r.SessionAPIKey + folder)
		var echo client.Echo
		if err := answer.Decode(&echo); err != nil || !answer.OK() || echo.Port != 60001 || echo.RawPath != "/" ||
			echo.Query != "tkn="+c.r.SessionAPIKey+folder {
			t.Errorf("%s: %s %v", name, answer, err)
		}
		for what, query := range map[string]string{
			"a wrong token": "/?tkn=wrong" + folder, "none": "/?" + folder[1:], "an empty one": "/?tkn=" + folder,
			"another sandbox's": "/?tkn=" + other.SessionAPIKey + folder, "the tenant's key": "/?tkn=" + suite.APIKeys["default"] + folder,
		} {
			if answer := open(query); answer.Status != http.StatusForbidden {
				t.Errorf("%s, %s: %d, want the editor's 403", name, what, answer.Status)
			}
		}
	}
}
