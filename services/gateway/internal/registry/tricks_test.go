package registry_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/gateway/internal/registry"
)

// inner are targets that lead inside, or nowhere a registry would be. The names
// are those of newTrap.
var inner = []string{
	"https://127.0.0.1/x", "https://127.8.8.8/x", "https://[::1]/x", "https://localhost/x", "https://0.0.0.0/x", "https://[::]/x",
	"https://169.254.169.254/latest/meta-data", "http://169.254.169.254/latest/meta-data", "https://168.63.129.16/x", "https://[fd00:ec2::254]/x",
	"https://[fe80::1]/x", "https://[fe80::1%25eth0]/x", "https://10.0.0.7/x", "https://172.16.0.7/x", "https://192.168.0.7/x", "https://100.64.0.7/x",
	"https://[fd00::7]/x", "https://224.0.0.7/x", "https://[ff02::7]/x", "https://240.0.0.7/x", "https://255.255.255.255/x",
	"https://[::ffff:10.0.0.7]/x", "https://[::10.0.0.7]/x", "https://[64:ff9b::a00:7]/x", "https://[64:ff9b:1::a00:7]/x", "https://[2002:a00:7::]/x",
	"https://0x7f.1/x", "https://127.1/x", "https://inner.example.com/x", "https://both.example.com./x", "https://nowhere.example.com/x",
	"http://cdn.example.com/x", "https://cdn.example.com:6443/x", "https://cdn.example.com:22/x", "https://listed.example.com:5000/x", "http://plain.example.com:5000/x",
	"ftp://cdn.example.com/x", "file:///etc/passwd", "gopher://cdn.example.com/x", "https:///x", "https://",
}

// newTrap is a world with everything that a trick could lead to. What is there
// answers, so that only the client's own rules keep it away.
func newTrap(t *testing.T) *world {
	w := newWorld(t)
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"token":"t"}`) })
	w.serve("cdn.example.com", "93.184.216.35:443", answer)
	everywhere := w.servers["93.184.216.35:443"]
	w.at("inner.example.com", "10.0.0.7:443", everywhere)
	w.at("listed.example.com", "10.0.0.8:5000", everywhere)
	w.servePlain("plain.example.com", "10.0.0.9:5000", answer)
	w.at("metadata", "169.254.169.254:80", w.servers["10.0.0.9:5000"])
	w.name("both.example.com.", "10.0.0.7", "127.0.0.1")
	for _, name := range []string{"localhost", "0x7f.1", "127.1"} { // as a resolver of the system may say
		w.name(name, "127.0.0.1", "::1")
	}
	for _, address := range []string{"127.0.0.1:443", "[::1]:443", "10.0.0.7:22", "93.184.216.35:22", "93.184.216.35:6443", "93.184.216.35:80", "169.254.169.254:443"} {
		w.at("at "+address, address, everywhere)
	}
	return w
}

// The rules name two registries inside: what is not configured may not lead to
// them.
var trapRules = registry.Rules{Private: []string{"listed.example.com:5000"}, Insecure: []string{"plain.example.com:5000"}}

func TestLedInside(t *testing.T) {
	const ofRedirect = "realm of where a redirect leads"
	t.Parallel()
	for trick, handler := range map[string]func(target string, h http.Handler) http.Handler{
		"redirect of the ping":     func(to string, h http.Handler) http.Handler { return redirect(to, h, "/v2/") },
		"redirect of the manifest": func(to string, h http.Handler) http.Handler { return redirect(to, h, "/v2/a/dated/manifests/1") },
		"redirect of the blob":     func(to string, h http.Handler) http.Handler { return redirect(to, h, "/v2/a/dated/blobs/") },
		"redirect twice": func(to string, h http.Handler) http.Handler {
			return redirect("/hop", redirect(to, h, "/hop"), "/v2/a/dated/manifests/1")
		},
		"realm": func(to string, h http.Handler) http.Handler { return challenge(to, h) },
		"redirect of the realm": func(to string, h http.Handler) http.Handler {
			return redirect(to, challenge("https://"+host+"/token", h), "/token")
		},
		// hop is another public registry that asks for a token of its own.
		ofRedirect: func(to string, h http.Handler) http.Handler {
			hop := challenge(to, h, "/v2/hop/")
			first := challenge("https://"+host+"/token", redirect("https://hop.example.com/v2/hop/x", h, "/v2/a/"))
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Host == "hop.example.com": // its token never begins as that of host does
					r.Header.Del("Authorization")
					hop.ServeHTTP(w, r)
				case r.URL.Path == "/token":
					_, _ = io.WriteString(w, `{"token":"t"}`)
				default:
					first.ServeHTTP(w, r)
				}
			})
		},
	} {
		t.Run(trick, func(t *testing.T) {
			t.Parallel()
			h := newWarehouse(t)
			for _, target := range inner {
				w := newTrap(t)
				w.serve(host, address, handler(target, h))
				w.serve("hop.example.com", "93.184.216.60:443", handler(target, h))
				img, err := w.client(trapRules).Find(t.Context(), host+"/a/dated:1")
				if code := sandbox.CodeOf(err); img != nil || code != sandbox.CodeForbidden && code != sandbox.CodeUnavailable {
					t.Errorf("%s: Find = %v, %v", target, img, err)
				}
				if got := strings.NewReplacer(address, "", "93.184.216.60:443", "").Replace(w.connections()); strings.TrimSpace(got) != "" {
					t.Errorf("%s: connected to %s", target, got)
				}
				if trick == ofRedirect && !strings.Contains(w.connections(), "93.184.216.60:443") {
					t.Errorf("%s: the redirect before it was not followed", target)
				}
				told := sandbox.MessageOf(err)
				for _, part := range []string{"10.0.0", "169.254", "127.", "::", "inner.", "both.", "listed.", "plain.", "cdn.", "/x"} {
					if strings.Contains(told, part) {
						t.Errorf("%s: the client is told %q", target, told)
					}
				}
			}
		})
	}
}

// redirect answers what is asked below a path with a redirect, and all else as h.
func redirect(to string, h http.Handler, below string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == below || below != "/v2/" && strings.HasPrefix(r.URL.Path, below) {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusTemporaryRedirect)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// challenge wants a token of a realm for what is asked below a path, /v2/ if none
// is given.
func challenge(realm string, h http.Handler, below ...string) http.Handler {
	below = append(below, "/v2/")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, below[0]) && !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer t") {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s",service="registry",scope="repository:a/dated:pull"`, realm))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// A registry may lead nobody inside by its own name or address either.
func TestRegistryInside(t *testing.T) {
	t.Parallel()
	for _, reference := range []string{
		"127.0.0.1/a:1", "127.0.0.1:443/a:1", "localhost/a:1", "localhost:5000/a:1", "169.254.169.254/latest:1", "169.254.169.254:80/latest:1", "10.0.0.7/a:1",
		"0x7f.1/a:1", "127.1/a:1", "inner.example.com/a:1", "both.example.com./a:1", "nowhere.example.com/a:1", "cdn.example.com:22/a:1", "cdn.example.com:6443/a:1",
	} {
		w := newTrap(t)
		img, err := w.client(trapRules).Find(t.Context(), reference)
		if img != nil || sandbox.CodeOf(err) != sandbox.CodeForbidden {
			t.Errorf("Find(%s) = %v, %v, want forbidden", reference, img, err)
		}
		if got := w.connections(); got != "" {
			t.Errorf("%s: connected to %s", reference, got)
		}
	}
	// What is not there is told in the same words as what is there inside.
	w := newTrap(t)
	c := w.client(trapRules)
	_, there := c.Find(t.Context(), "inner.example.com/a:1")
	_, not := c.Find(t.Context(), "other.example.com/a:1")
	if x, y := sandbox.MessageOf(there), sandbox.MessageOf(not); strings.ReplaceAll(x, "inner.", "other.") != y {
		t.Errorf("%q and %q", x, y)
	}
}

// A name counts for one connection: what it says later is looked at anew.
func TestRebinding(t *testing.T) {
	t.Parallel()
	w := newTrap(t)
	h := newWarehouse(t)
	w.serve(host, address, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close") // the next request needs a connection of its own
		h.ServeHTTP(w, r)
	}))
	w.later[host] = w.names["inner.example.com"]
	img, err := w.client(registry.Rules{}).Find(t.Context(), host+"/a/dated:1")
	if img != nil || sandbox.CodeOf(err) != sandbox.CodeForbidden {
		t.Errorf("Find = %v, %v", img, err)
	}
	if got := w.connections(); got != address {
		t.Errorf("connected to %s", got)
	}
}

// Of several addresses only public ones are tried, and not all of thousands.
func TestAddressesOfAName(t *testing.T) {
	t.Parallel()
	w := newTrap(t)
	w.serve(host, address, newWarehouse(t))
	w.name(host, "10.0.0.7", "::ffff:127.0.0.1", "93.184.216.1", "93.184.216.34", "fd00::7")
	if img, err := w.client(registry.Rules{}).Find(t.Context(), host+"/a/dated:1"); img == nil || err != nil {
		t.Errorf("Find = %v, %v", img, err)
	}
	if got := w.connections(); got != "93.184.216.1:443 "+address {
		t.Errorf("connected to %s", got)
	}
	many := newTrap(t)
	var addrs []string
	for i := range 200 {
		addrs = append(addrs, fmt.Sprintf("93.184.217.%d", i))
	}
	many.name(host, addrs...)
	if _, err := many.client(registry.Rules{}).Find(t.Context(), host+"/a/dated:1"); sandbox.CodeOf(err) != sandbox.CodeUnavailable {
		t.Errorf("Find = %v", err)
	}
	if n := len(strings.Fields(many.connections())); n > 4 {
		t.Errorf("%d connections", n)
	}
}

// A registry inside that is configured works, by TLS or without, and may refer
// to others that are; one that is public may be sent on to its CDN.
func TestLedWhereItMay(t *testing.T) {
	t.Parallel()
	h := newWarehouse(t)
	for name, c := range map[string]struct {
		reference string
		handler   http.Handler
		rules     registry.Rules
	}{
		"inside by TLS":          {"in.example.com/a/dated:1", h, registry.Rules{Private: []string{"in.example.com"}}},
		"inside without":         {"plain.example.com:5001/a/dated:1", h, registry.Rules{Insecure: []string{"plain.example.com:5001"}}},
		"inside to inside":       {"in.example.com/a/dated:1", redirect("https://more.example.com:8443/v2/a/dated/manifests/1", h, "/v2/a/dated/manifests/"), registry.Rules{Private: []string{"in.example.com", "more.example.com:8443"}}},
		"outside to a CDN":       {"out.example.com/a/dated:1", redirect("https://far.elsewhere.test/v2/a/dated/manifests/1", h, "/v2/a/dated/manifests/"), registry.Rules{}},
		"listed, to a CDN":       {"out.example.com/a/dated:1", redirect("https://far.elsewhere.test/v2/a/dated/manifests/1", h, "/v2/a/dated/manifests/"), registry.Rules{Allow: []string{"out.example.com"}}},
		"listed, to what is too": {"out.example.com/a/dated:1", redirect("https://more.example.com:8443/v2/a/dated/manifests/1", h, "/v2/a/dated/manifests/"), registry.Rules{Allow: []string{"out.example.com"}, Private: []string{"more.example.com:8443"}}},
		"realm elsewhere":        {"out.example.com/a/dated:1", challenge("https://token.elsewhere.test/t", h), registry.Rules{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.serve("in.example.com", "10.0.0.1:443", c.handler)
			w.servePlain("plain.example.com", "10.0.0.2:5001", c.handler)
			w.serve("out.example.com", "93.184.216.50:443", c.handler)
			w.serve("more.example.com", "10.0.0.3:8443", h)
			w.serve("far.elsewhere.test", "93.184.216.51:443", h)
			w.serve("token.elsewhere.test", "93.184.216.52:443", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, `{"token":"t"}`)
			}))
			if img, err := w.client(c.rules).Find(t.Context(), c.reference); err != nil || img == nil || img.UploadTime == "" {
				t.Errorf("Find = %v, %v", img, err)
			}
		})
	}
}

// The proxies of the environment are not asked: they would dial in our place.
func TestNoProxy(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://10.0.0.7:3128")
	t.Setenv("HTTP_PROXY", "http://10.0.0.7:3128")
	w := newWorld(t)
	w.serve(host, address, newWarehouse(t))
	if img, err := w.client(registry.Rules{}).Find(t.Context(), host+"/a/dated:1"); err != nil || img == nil {
		t.Errorf("Find = %v, %v", img, err)
	}
	if got := w.connections(); strings.Contains(got, "10.0.0.7") {
		t.Errorf("connected to %s", got)
	}
}
