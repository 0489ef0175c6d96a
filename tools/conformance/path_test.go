//go:build system

package conformance_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

func TestCheck28PathMode(t *testing.T) {
	declare(t, realNode, 28)
	t.Parallel()
	r := startReady(t, pathAPI(t), startBody(t, "v1c", newSession()))
	u := try(url.Parse(r.URL)).or(t)
	if u.Path != "/"+r.RuntimeID+"/runtime" {
		t.Fatalf("url %s, want the path /%s/runtime", r.URL, r.RuntimeID)
	}
	services := map[string]struct {
		base string
		port int
	}{
		"runtime": {r.URL, 60000}, "vscode": {r.ServiceURL("vscode"), 60001},
		"work-1": {r.ServiceURL("work-1"), 12000}, "work-2": {r.ServiceURL("work-2"), 12001},
	}
	query := "tkn=" + url.QueryEscape(r.SessionAPIKey) + "&folder=%2Fworkspace%2Fproject"
	for service, want := range services {
		agent := client.NewAgent(suite.path, want.base, r.SessionAPIKey)
		echo := try(agent.Echo(t.Context(), client.Request{
			Path: "/a%2Fb//c?" + query, Header: http.Header{"X-API-Key": {suite.Path.APIKey}},
		})).or(t)
		if echo.Port != want.port || echo.Query != query {
			t.Errorf("%s: port %d, query %s; want %d, %s", service, echo.Port, echo.Query, want.port, query)
		}
		if !strings.HasSuffix(echo.RawPath, "/a%2Fb//c") {
			t.Errorf("%s: path %s, want its end as sent", service, echo.RawPath)
		}
		if _, there := echo.Headers["X-Api-Key"]; there {
			t.Errorf("%s: X-API-Key came through", service)
		}
		if service != "vscode" { // the stub's editor only echoes
			redirects(t, agent, "/"+r.RuntimeID+"/"+service)
		}
	}
	agent := client.NewAgent(suite.path, r.URL, r.SessionAPIKey)
	if back := try(agent.WebSocketEcho(t.Context(), "/ws", "hello")).or(t); back != "hello" {
		t.Errorf("WebSocket: %q", back)
	}
	pathNotFound(t, r)
}

// redirects looks whether a redirect to the sandbox's own root, and a cookie for
// it, stay under the prefix, and others stay as they are.
func redirects(t *testing.T, agent client.Agent, prefix string) {
	t.Helper()
	for to, want := range map[string]string{
		"/login?next=%2Fx":            prefix + "/login?next=%2Fx",
		"next":                        "next",
		"https://example.com/x":       "https://example.com/x",
		"//example.com/protocol-less": "//example.com/protocol-less",
	} {
		answer := do(t, agent.Caller, client.Request{Path: "/redirect?to=" + url.QueryEscape(to)})
		location := answer.Header.Get("Location")
		if own := try(url.Parse(agent.Base)).or(t); strings.HasPrefix(location, own.Scheme+"://"+own.Host+"/") {
			location = strings.TrimPrefix(location, own.Scheme+"://"+own.Host) // an absolute URL says the same
		}
		if answer.Status != http.StatusFound || location != want {
			t.Errorf("%s: %d to %s, want %s", to, answer.Status, location, want)
		}
		cookie := answer.Header.Get("Set-Cookie")
		if path := cookiePath(answer); path != prefix && !strings.HasPrefix(path, prefix+"/") {
			t.Errorf("cookie %q has the path %q, want it under %s", cookie, path, prefix)
		}
	}
}

func cookiePath(answer client.Answer) string {
	for _, cookie := range (&http.Response{Header: answer.Header}).Cookies() {
		return cookie.Path
	}
	return ""
}

func pathNotFound(t *testing.T, r client.Runtime) {
	t.Helper()
	root := strings.TrimSuffix(r.URL, "/"+r.RuntimeID+"/runtime")
	for _, path := range []string{
		"/" + unknownID + "/runtime/alive", "/" + r.RuntimeID + "/nothing", "/" + r.RuntimeID, "/sandbox/" + r.RuntimeID,
	} {
		answer := do(t, client.Caller{Base: root, HTTP: suite.path}, client.Request{Path: path})
		if err := answer.Problem(http.StatusNotFound); err != nil {
			t.Error(err)
		}
	}
}
