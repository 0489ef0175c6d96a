package proxy_test

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/services/router/internal/proxy"
)

// seen is a request as the sandbox got it.
type seen struct {
	Host    string
	Target  string
	Header  http.Header
	Trailer http.Header
}

var mirror = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	_ = json.NewEncoder(w).Encode(seen{r.Host, r.RequestURI, r.Header, r.Trailer})
})

func (w *world) mirrored(r *http.Request) seen {
	w.Helper()
	res, body := w.do(r)
	var s seen
	if err := json.Unmarshal([]byte(body), &s); err != nil || res.StatusCode != 200 {
		w.Fatal(res.Status, body, err)
	}
	return s
}

// Contract 11, check 26.
func TestTheTenantsKeyStaysHere(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, newWorld newWorldFunc) {
		w := newWorld(t, mirror, nil)
		r := w.request("POST", agentURL("/"), io.MultiReader(strings.NewReader("body"))) // chunked
		r.Header = http.Header{
			"X-API-Key": {"secret"}, "x-api-key": {"secret"}, "X-Api-Key": {"secret", "secret"},
			"X-Session-Api-Key": {"session"}, "Origin": {"http://app.test"}, "Cookie": {"a=b; c=d"}, "Authorization": {"Bearer x"},
		}
		r.Trailer = http.Header{"X-Api-Key": {"secret"}, "Checksum": {"42"}}
		got := w.mirrored(r)
		raw, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), "secret") {
			t.Errorf("%s", raw)
		}
		for name, want := range map[string]string{
			"X-Session-Api-Key": "session", "Origin": "http://app.test", "Cookie": "a=b; c=d", "Authorization": "Bearer x",
		} {
			if got.Header.Get(name) != want {
				t.Errorf("%s: %q", name, got.Header.Get(name))
			}
		}
		if got.Trailer.Get("Checksum") != "42" || len(got.Trailer) != 1 {
			t.Errorf("trailers %v", got.Trailer)
		}
	})
}

// Nothing but what is said here is added, dropped or changed.
func TestForwardedHeaders(t *testing.T) {
	t.Parallel()
	sent := http.Header{
		"User-Agent": {""}, // none: none is added
		"Forwarded":  {"for=1.1.1.1"}, "X-Forwarded-For": {"1.1.1.1"}, "X-Forwarded-Host": {"evil.test"}, "X-Forwarded-Proto": {"gopher"},
		"X-Forwarded-Prefix": {"/evil"}, "X-Forwarded-Port": {"1"}, "X-Real-Ip": {"1.1.1.1"}, "X-Kept": {"1", "2"},
		"Connection": {"X-Forwarded-For, X-Hop"}, "X-Hop": {"1"}, "Te": {"trailers"}, "Keep-Alive": {"1"}, "Proxy-Authorization": {"x"},
	}
	for name, c := range map[string]struct {
		change func(*proxy.Config)
		url    string
		want   http.Header
	}{
		"subdomain": {nil, agentURL("/"), http.Header{
			"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {label + "." + base}, "X-Forwarded-Proto": {"http"},
		}},
		"https outside": {func(c *proxy.Config) { c.Pattern.Scheme = "https" }, agentURL("/"), http.Header{
			"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {label + "." + base}, "X-Forwarded-Proto": {"https"},
		}},
		"path": {pathMode, "http://" + base + mount + "/", http.Header{
			"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {base}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Prefix": {mount},
		}},
		"path, vscode": {pathMode, "http://" + base + root + "/vscode/", http.Header{
			"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {base}, "X-Forwarded-Proto": {"http"},
		}},
		"trusted": {func(c *proxy.Config) { c.TrustForwarded = true }, agentURL("/"), http.Header{
			"X-Forwarded-For": {"1.1.1.1, 127.0.0.1"}, "X-Forwarded-Host": {"evil.test"}, "X-Forwarded-Proto": {"gopher"},
			"X-Forwarded-Prefix": {"/evil"}, "X-Forwarded-Port": {"1"}, "X-Real-Ip": {"1.1.1.1"}, "Forwarded": {"for=1.1.1.1"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, mirror, c.change)
			r := w.request("GET", c.url, nil)
			r.Header = maps.Clone(sent)
			got := w.mirrored(r)
			c.want["X-Kept"], c.want["Te"] = sent["X-Kept"], sent["Te"]
			if !maps.EqualFunc(got.Header, c.want, slices.Equal) {
				t.Errorf("%v\nwant %v", got.Header, c.want)
			}
		})
	}
}

func TestHostIsTheClients(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, newWorld newWorldFunc) {
		w := newWorld(t, mirror, nil)
		for _, host := range []string{label + "." + base, "My-Session.Sandbar.TEST:8080", runtimeID + "." + base + "."} {
			r := w.request("GET", agentURL("/"), nil)
			r.Host = host
			if got := w.mirrored(r); got.Host != host {
				t.Errorf("%q arrived as %q", host, got.Host)
			}
		}
	})
}

// The answer comes as the sandbox gave it, trailers and missing headers too.
func TestAnswersPassUnchanged(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, newWorld newWorldFunc) {
		zipped := func(w io.Writer) {
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, "<html>zipped")
			_ = z.Close()
		}
		w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h["Content-Type"], h["Date"] = nil, []string{"yesterday"}
			h.Set("Content-Encoding", "gzip")
			h.Set("Access-Control-Allow-Origin", "http://app.test")
			h["Set-Cookie"] = []string{"a=b; Path=/", "c=d"}
			h.Set("Trailer", "Told")
			w.WriteHeader(http.StatusTeapot)
			zipped(w)
			h.Set("Told", "1")
			h.Set(http.TrailerPrefix+"Untold", "2")
		}), nil)
		res, body := w.get(agentURL("/"))
		want := &strings.Builder{}
		zipped(want)
		if body != want.String() || res.StatusCode != http.StatusTeapot {
			t.Errorf("%s %q", res.Status, body)
		}
		if h := (http.Header{
			"Date": {"yesterday"}, "Content-Encoding": {"gzip"}, "Access-Control-Allow-Origin": {"http://app.test"}, "Set-Cookie": {"a=b; Path=/", "c=d"},
		}); !maps.EqualFunc(res.Header, h, slices.Equal) {
			t.Errorf("%v", res.Header)
		}
		if res.Trailer.Get("Told") != "1" || res.Trailer.Get("Untold") != "2" {
			t.Errorf("trailers %v", res.Trailer)
		}
	})
}

func TestNoTypeIsGuessed(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, newWorld newWorldFunc) {
		page := "<html>" + strings.Repeat("x", 256<<10)
		w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = nil
			_, _ = io.WriteString(w, page)
		}), nil)
		for range 50 { // whether one is guessed depends on what is flushed when
			if res, body := w.get(agentURL("/")); body != page || res.Header.Values("Content-Type") != nil {
				t.Fatalf("%d bytes, %v", len(body), res.Header)
			}
		}
	})
}

func TestEarlyHints(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, newWorld newWorldFunc) {
		w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "</x>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusNoContent)
		}), nil)
		var hints []int
		r := w.request("GET", agentURL("/"), nil)
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, _ textproto.MIMEHeader) error { hints = append(hints, code); return nil },
		}))
		if res, _ := w.do(r); res.StatusCode != 204 || !slices.Equal(hints, []int{103}) {
			t.Error(res.Status, hints)
		}
		w.settle()
		if n := w.metric("sandbar_router_requests_total", "2xx", "agent"); n != 1 {
			t.Errorf("counted %v", n)
		}
	})
}
