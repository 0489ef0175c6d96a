package proxy_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/services/router/internal/proxy"
)

type newWorldFunc func(testing.TB, http.Handler, func(*proxy.Config)) *world

// overBoth runs a test by HTTP/1.1 and by HTTP/2.
func overBoth(t *testing.T, test func(*testing.T, newWorldFunc)) {
	t.Helper()
	for name, start := range map[string]newWorldFunc{"HTTP 1.1": newWorld, "HTTP 2": newHTTP2World} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start)
		})
	}
}

// newHTTP2World is a world whose router speaks TLS, and whose client HTTP/2. All
// URLs are called https, whatever they are in the test.
func newHTTP2World(t testing.TB, agent http.Handler, change func(*proxy.Config)) *world {
	t.Helper()
	w := unstarted(t, agent, change)
	w.front.EnableHTTP2 = true
	w.front.StartTLS()
	roots := w.front.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	w.client.Transport = secure{t, &http.Transport{
		DisableCompression: true, DialContext: w.dialFront, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "example.com"}, // what the certificate of httptest names
	}}
	return w
}

type secure struct {
	testing.TB
	*http.Transport
}

func (s secure) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme = "https"
	res, err := s.Transport.RoundTrip(r)
	if err == nil && res.ProtoMajor != 2 {
		s.Errorf("%s is answered by %s", r.URL, res.Proto)
	}
	return res, err
}

// opaque makes the client send exactly this target.
func (w *world) opaque(method, host, target string) *http.Request {
	w.Helper()
	r := w.request(method, "http://"+host+"/", nil)
	r.URL.Opaque = "//" + host + target // of which all but the target goes
	return r
}

// Contract 11, check 65, by HTTP/2: what HTTP/1.1 can carry arrives as it was sent.
func TestTargetsArriveAsTheyWereSentOverHTTP2(t *testing.T) {
	t.Parallel()
	subdomain, path := newHTTP2World(t, echoTarget, nil), newHTTP2World(t, echoTarget, pathMode)
	for _, target := range targets {
		if target == "/%" { // no URL: see TestHostileStreams
			continue
		}
		for _, c := range []struct {
			w                *world
			host, mount, way string
		}{
			{subdomain, label + "." + base, "", ""}, {path, "any.test", mount, ""}, {path, "any.test", root + "/vscode", root + "/vscode"},
		} {
			r := c.w.opaque("GET", c.host, c.mount+target)
			if res, body := c.w.do(r); res.StatusCode != 200 || body != c.way+target {
				t.Errorf("%s: %.100q arrived as %d %.100q", c.host, target, res.StatusCode, body)
			}
		}
	}
	options := subdomain.opaque("OPTIONS", label+"."+base, "")
	options.URL.Opaque = "*"
	if res, body := subdomain.do(options); res.StatusCode != 200 || body != "*" {
		t.Error(res.Status, body)
	}
}

// A browser may send what is for another host of the same certificate over the
// same connection.
func TestMisdirectedRequests(t *testing.T) {
	t.Parallel()
	w, path := newHTTP2World(t, mirror, nil), newHTTP2World(t, mirror, pathMode)
	for host, status := range map[string]int{
		"example.com": 421, base: 421, "a.b." + base: 421, "127.0.0.1": 421, "nobody." + base: 404, label + "." + base: 200,
	} {
		r := w.request("GET", agentURL("/"), nil)
		r.Host = host
		res, body := w.do(r)
		if status != 200 {
			isError(t, res, body, status)
		} else if res.StatusCode != 200 {
			t.Errorf("%s: %s", host, res.Status)
		}
	}
	res, body := path.get(agentURL("/")) // by path, the host says nothing
	isError(t, res, body, 404)
}

// What belongs to one connection, and what HTTP/2 does not have, stays there.
func TestHTTP2Headers(t *testing.T) {
	t.Parallel()
	w := newHTTP2World(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		w.Header().Set("Keep-Alive", "timeout=5")
		w.Header().Set("X-Seen", fmt.Sprint(r.Proto, " ", r.Header.Get("Te"), " ", r.Header.Get("Cookie")))
		w.Header().Set("X-Long", strings.Repeat("x", 200<<10))
	}), nil)
	for range 2 { // the sandbox's close is not the client's
		r := w.request("GET", agentURL("/"), nil)
		r.Header.Set("Te", "trailers")
		r.Header["Cookie"] = []string{"a=b", "c=d"}
		res, _ := w.do(r)
		for _, name := range []string{"Connection", "Keep-Alive", "Transfer-Encoding"} {
			if v, there := res.Header[name]; there {
				t.Errorf("%s: %q", name, v)
			}
		}
		if got := res.Header.Get("X-Seen"); got != "HTTP/1.1 trailers a=b; c=d" {
			t.Error(got)
		}
		if n := len(res.Header.Get("X-Long")); n != 200<<10 {
			t.Errorf("%d bytes of a long header", n)
		}
	}
}

// HTTP/2 has trailers beside a length, which HTTP/1.1 has not.
func TestTrailersBesideALength(t *testing.T) {
	t.Parallel()
	w := newHTTP2World(t, mirror, nil)
	r := w.request("POST", agentURL("/"), io.NopCloser(strings.NewReader("body")))
	r.ContentLength = 4
	r.Trailer = http.Header{"Checksum": {"42"}, "X-Api-Key": {"secret"}}
	got := w.mirrored(r)
	if !slices.Equal(got.Trailer["Checksum"], []string{"42"}) || len(got.Trailer) != 1 {
		t.Errorf("trailers %v", got.Trailer)
	}
}
