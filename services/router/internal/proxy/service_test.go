package proxy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/router/internal/proxy"
)

// says answers with who it is and what it was asked.
func says(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, name+" "+r.RequestURI) })
}

// Contract 11, checks 27 and 28.
func TestServices(t *testing.T) {
	t.Parallel()
	ports := func(c *proxy.Config) {
		c.Ports = sandbox.Ports{
			Agent: serve(t, "127.0.0.1:0", says("agent")), VSCode: serve(t, "127.0.0.1:0", says("vscode")),
			Work1: serve(t, "127.0.0.1:0", says("one")), Work2: serve(t, "127.0.0.1:0", says("two")),
		}
	}
	subdomain := newWorld(t, mirror, ports)
	path := newWorld(t, mirror, func(c *proxy.Config) { ports(c); pathMode(c) })
	for _, c := range []struct {
		w         *world
		url, want string
	}{
		{subdomain, "http://" + label + "." + base + "/x", "agent /x"},
		{subdomain, "http://vscode-" + label + "." + base + "/?tkn=k", "vscode /?tkn=k"},
		{subdomain, "http://work-1-" + label + "." + base + "/", "one /"},
		{subdomain, "http://work-2-" + label + "." + base + "/", "two /"},
		{subdomain, "http://work-2-" + runtimeID + "." + base + "/", "two /"},
		{path, "http://" + base + mount + "/x", "agent /x"},
		{path, "http://" + base + mount, "agent /"},
		{path, "http://" + base + root + "/vscode?tkn=k", "vscode " + root + "/vscode?tkn=k"},
		{path, "http://" + base + root + "/work-1/x", "one /x"},
		{path, "http://" + base + root + "/work-2/x", "two /x"},
	} {
		if res, body := c.w.get(c.url); body != c.want || res.StatusCode != 200 {
			t.Errorf("%s: %q", c.url, body)
		}
	}
	res, body := path.get(agentURL("/"))
	isError(t, res, body, 404)
	res, body = subdomain.get("http://" + base + mount)
	isError(t, res, body, 404)
}

func TestPathModeKeepsRedirectsAndCookies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Set-Cookie"] = []string{"a=b; Path=/; Domain=sandbar.test", "c=d"}
		http.Redirect(w, r, "http://"+r.Host+"/login", http.StatusFound)
	}), pathMode)
	res, _ := w.get("http://" + base + mount + "/")
	if got := res.Header.Get("Location"); got != mount+"/login" {
		t.Error(got)
	}
	if got := res.Header.Values("Set-Cookie"); !slices.Equal(got, []string{"a=b; Path=" + mount, "c=d"}) {
		t.Error(got)
	}
}

// Requests to many sandboxes at once, while some are paused and resumed, reach
// their own or none.
func TestManySandboxes(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	const count = 8
	for i := range count { // one port, an address each, as pods have
		serve(t, fmt.Sprintf("127.0.0.%d:%d", i+10, port), says(fmt.Sprint("box", i)))
	}
	w := newWorld(t, mirror, func(c *proxy.Config) { c.Ports.Agent = port })
	place := func(i int, s sandbox.Status, order uint64) {
		session := fmt.Sprint("box", i)
		w.states.Merge(&sandbox.View{
			Record: sandbox.RecordName("default", session), Tenant: "default", SessionID: session,
			RuntimeID: strings.Repeat(string(rune('a'+i)), 16), Route: sandbox.Route{Label: session},
			Status: s, Address: fmt.Sprintf("127.0.0.%d", i+10), Order: order,
		}, order)
	}
	for i := range count {
		place(i, sandbox.StatusRunning, 1)
	}
	var wg sync.WaitGroup
	for i := range count {
		wg.Go(func() {
			for n := range 50 {
				res, body := w.get(fmt.Sprintf("http://box%d.%s/%d", i, base, n))
				if want := fmt.Sprintf("box%d /%d", i, n); body != want && res.StatusCode != 503 {
					t.Errorf("%d: %q", i, body)
				}
			}
		})
		if i%2 == 0 {
			wg.Go(func() {
				for n := range uint64(50) {
					place(i, []sandbox.Status{sandbox.StatusPaused, sandbox.StatusRunning}[n%2], n+2)
				}
			})
		}
	}
	wg.Wait()
	w.settle()
	if n := w.metric("sandbar_router_requests_total", "2xx", "agent"); n < 50*count/2 {
		t.Errorf("%v were passed on", n)
	}
}
