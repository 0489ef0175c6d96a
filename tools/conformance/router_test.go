//go:build system

package conformance_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

// bases are all URLs under which a sandbox's services can be reached.
func bases(r client.Runtime) map[string]string {
	all := map[string]string{"agent": r.URL, "agent by runtime id": r.WithLabel(r.RuntimeID, suite.BaseDomain)}
	for _, service := range []string{"vscode", "work-1", "work-2"} {
		all[service] = r.ServiceURL(service)
		byID := client.Runtime{RuntimeID: r.RuntimeID, URL: all["agent by runtime id"]}
		all[service+" by runtime id"] = byID.ServiceURL(service)
	}
	return all
}

var (
	preflight = client.Request{Method: http.MethodOptions, Path: "/api/conversations", Bare: true, Header: http.Header{
		"Origin":                         {"https://app.example.test"},
		"Access-Control-Request-Method":  {"POST"},
		"Access-Control-Request-Headers": {"x-session-api-key"},
	}}
	upgrade = client.Request{Path: "/sockets/events/1", Header: http.Header{
		"Connection":            {"Upgrade"},
		"Upgrade":               {"websocket"},
		"Sec-WebSocket-Version": {"13"},
		"Sec-WebSocket-Key":     {"dGhlIHNhbXBsZSBub25jZQ=="},
	}}
)

func TestCheck23PausedIs503(t *testing.T) {
	declare(t, realNode, 23, 48)
	t.Parallel()
	r := sharedPaused(t)
	waitAnswer(t, agentOf(r).Caller, client.Request{Path: "/alive"}, http.StatusServiceUnavailable)
	for name, base := range bases(r) {
		for what, request := range map[string]client.Request{
			"alive":     {Path: "/alive", Bare: true},
			"root":      {Path: "/"},
			"deep path": {Path: "/api//file%2Fx?download=1"},
			"post":      {Method: http.MethodPost, Path: "/execute_action", Body: map[string]any{"action": "run"}},
			"put":       {Method: http.MethodPut, Path: "/files/x", Body: []byte(strings.Repeat("x", 100_000))},
			"delete":    {Method: http.MethodDelete, Path: "/files/x"},
			"preflight": preflight,
			"upgrade":   upgrade,
		} {
			answer := do(t, agentAt(base, r).Caller, request)
			if err := answer.Problem(http.StatusServiceUnavailable); err != nil {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		head := do(t, agentAt(base, r).Caller, client.Request{Method: http.MethodHead, Path: "/alive"})
		if head.Status != http.StatusServiceUnavailable {
			t.Errorf("%s, HEAD: %s, want 503", name, head)
		}
	}
}

func TestCheck23StartingIs503(t *testing.T) {
	declare(t, realNode, 23)
	t.Parallel()
	r := start(t, defaultAPI(), startBody(t, "v1a", newSession(), neverReady))
	for name, base := range bases(r) {
		for _, request := range []client.Request{{Path: "/alive", Bare: true}, preflight, upgrade} {
			if err := do(t, agentAt(base, r).Caller, request).Problem(http.StatusServiceUnavailable); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestCheck24StoppedAndUnknownAre404(t *testing.T) {
	declare(t, realNode, 24)
	t.Parallel()
	stopped := startReady(t, defaultAPI(), startBody(t, "v1a", newSession()))
	if err := defaultAPI().Stop(t.Context(), stopped.RuntimeID); err != nil {
		t.Fatal(err)
	}
	waitAnswer(t, agentOf(stopped).Caller, client.Request{Path: "/alive"}, http.StatusNotFound)
	// The label is free again, but it is one: the host is ours, the sandbox is not.
	unknown := stopped
	unknown.RuntimeID, unknown.URL = unknownID, stopped.WithLabel("nobody-"+nonce(), suite.BaseDomain)
	for what, r := range map[string]client.Runtime{"stopped": stopped, "unknown": unknown} {
		for name, base := range bases(r) {
			for _, request := range []client.Request{{Path: "/alive"}, {Path: "/"}, preflight, upgrade} {
				if err := do(t, agentAt(base, r).Caller, request).Problem(http.StatusNotFound); err != nil {
					t.Errorf("%s, %s: %v", what, name, err)
				}
			}
		}
	}
	for _, host := range []string{"example.com", "a.b." + suite.BaseDomain, "169.254.169.254", unknownID} {
		answer := do(t, agentOf(stopped).Caller, client.Request{Path: "/alive", Host: host})
		if err := answer.Problem(http.StatusNotFound); err != nil {
			t.Errorf("host %s: %v", host, err)
		}
	}
}

func TestCheck26APIKeyIsStripped(t *testing.T) {
	declare(t, realNode, 26)
	t.Parallel()
	byEachWay(t, apiKeyIsStripped)
}

func apiKeyIsStripped(t *testing.T, e entrance) {
	r := e.sharedRunning(t)
	for service, base := range e.bases(r) {
		for method, header := range map[string]http.Header{
			http.MethodGet:  upgrade.Header.Clone(), // the handshake of a WebSocket, which is only echoed here
			http.MethodPost: {},
		} {
			agent := e.agent(base, r)
			if method == http.MethodGet {
				agent = e.socket(base, r)
			}
			header.Set("X-API-Key", e.key)
			header.Set("X-Clients-Own", "1")
			path := "/api/x?tkn=" + url.QueryEscape(r.SessionAPIKey)
			echo := try(agent.Echo(t.Context(), client.Request{Method: method, Path: path, Header: header})).or(t)
			if values, there := echo.Headers["X-Api-Key"]; there {
				t.Errorf("%s %s: X-API-Key came through %d times", method, service, len(values))
			}
			if echo.Headers.Get("X-Session-Api-Key") != r.SessionAPIKey || echo.Headers.Get("X-Clients-Own") != "1" {
				t.Errorf("%s %s: other headers did not come through", method, service)
			}
		}
	}
	agent := e.socket(r.URL, r)
	agent.Header.Set("X-API-Key", e.key)
	if back := try(agent.WebSocketEcho(t.Context(), "/ws", "hello")).or(t); back != "hello" {
		t.Errorf("WebSocket: %q", back)
	}
}

func TestCheck27And29SiblingHosts(t *testing.T) {
	declare(t, realNode, 27, 29)
	t.Parallel()
	byEachWay(t, siblingHosts)
}

func siblingHosts(t *testing.T, e entrance) {
	r := e.sharedRunning(t)
	query := "tkn=" + url.QueryEscape(r.SessionAPIKey) + "&folder=%2Fworkspace%2Fproject"
	ports := map[string]int{"agent": 60000, "vscode": 60001, "work-1": 12000, "work-2": 12001}
	for name, base := range e.bases(r) {
		service := strings.TrimSuffix(name, " by runtime id")
		echo := try(e.agent(base, r).Echo(t.Context(), client.Request{Path: "/a%2Fb//c?" + query})).or(t)
		if echo.Port != ports[service] || echo.RawPath != "/a%2Fb//c" || echo.Query != query {
			t.Errorf("%s: port %d, path %s, query %s; want %d and both as sent", name, echo.Port, echo.RawPath, echo.Query, ports[service])
		}
		if _, want, _ := strings.Cut(base, "://"); echo.Host != want {
			t.Errorf("%s: the sandbox sees the host %q, want %q", name, echo.Host, want)
		}
	}
	for service, port := range map[string]int{"work-1": 12000, "work-2": 12001} {
		if r.WorkHosts[r.ServiceURL(service)] != port {
			t.Errorf("work_hosts %v, want %s on %d", r.WorkHosts, r.ServiceURL(service), port)
		}
		back := try(e.socket(r.ServiceURL(service), r).WebSocketEcho(t.Context(), "/ws", service)).or(t)
		if back != service {
			t.Errorf("WebSocket on %s: %q", service, back)
		}
	}
	// V1a puts the session key behind what it derives, and nothing else.
	for key, want := range map[string]int{r.SessionAPIKey: http.StatusOK, "another": http.StatusForbidden} {
		link := fmt.Sprintf("%s/?tkn=%s&folder=%%2Fworkspace%%2Fproject", r.NaiveServiceURL("vscode"), url.QueryEscape(key))
		answer := do(t, client.Caller{Base: link, HTTP: e.http}, client.Request{})
		if answer.Status != want {
			t.Errorf("VS Code: %s, want %d", answer, want)
		}
	}
}
