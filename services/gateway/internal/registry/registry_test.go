package registry_test

import (
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/gateway/internal/registry"
)

const (
	host    = "r.example.com"
	address = "93.184.216.34:443"
)

func TestFind(t *testing.T) {
	t.Parallel()
	w, h := newWorld(t), newWarehouse(t)
	w.serve(host, address, h)
	c := w.client(registry.Rules{})
	digest, err := h.dated.Digest()
	if err != nil {
		t.Fatal(err)
	}
	ofIndex := registry.Image{UploadTime: "2026-01-02T03:04:05Z", Size: whole(t, h.dated)}
	if runtime.GOARCH == "arm64" {
		ofIndex = registry.Image{Size: whole(t, h.undated)}
	}
	for reference, want := range map[string]*registry.Image{
		"/a/undated:1":                {Size: whole(t, h.undated)},
		"/a/dated:1":                  {UploadTime: "2026-01-02T03:04:05Z", Size: whole(t, h.dated)},
		"/a/dated@" + digest.String(): {UploadTime: "2026-01-02T03:04:05Z", Size: whole(t, h.dated)},
		"/a/index:1":                  &ofIndex,
		"/a/other:1":                  {UploadTime: "2026-01-02T03:04:05Z", Size: whole(t, h.dated)}, // none for this platform
		"/a/dated:2":                  nil,
		"/a/dated@sha256:" + zeros:    nil,
		"/b/none":                     nil,
		":443/a/dated:1":              {UploadTime: "2026-01-02T03:04:05Z", Size: whole(t, h.dated)},
	} {
		got, err := c.Find(t.Context(), host+reference)
		if err != nil || (got == nil) != (want == nil) || got != nil && *got != *want {
			t.Errorf("Find(%s) = %+v, %v; want %+v", reference, got, err, want)
		}
	}
}

var zeros = strings.Repeat("0", 64)

func TestFindInvalid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client(registry.Rules{})
	for _, reference := range []string{
		"", "UPPER/case", "a b", "host:port:tag/x", strings.Repeat("a", 2000), "a@sha256:12", "https://r.example.com/a", "user@r.example.com/a:1",
		"r.example.com:99999999/a b", "[::1/a:1", "r.example.com/../a:1", "r.example.com\n/a:1", "%31.example.com/a", "[::1]:5000/a:1",
	} {
		if _, err := c.Find(t.Context(), reference); sandbox.CodeOf(err) != sandbox.CodeInvalid {
			t.Errorf("Find(%.40q) = %v, want invalid", reference, err)
		}
	}
	if got := w.connections(); got != "" {
		t.Errorf("connected to %s", got)
	}
}

// What registries say in place of 404, and what says nothing.
func TestFindByStatus(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		want   sandbox.Code
	}{
		"404":                         {http.StatusNotFound, ""},
		"404 of all is no registry":   {-http.StatusNotFound, sandbox.CodeUnavailable},
		"403 of all neither":          {-http.StatusForbidden, sandbox.CodeUnavailable},
		"401 hides what is not there": {http.StatusUnauthorized, ""},
		"403 too":                     {http.StatusForbidden, ""},
		"418 says nothing":            {http.StatusTeapot, sandbox.CodeUnavailable},
		"429 neither":                 {http.StatusTooManyRequests, sandbox.CodeUnavailable},
		"503 neither":                 {http.StatusServiceUnavailable, sandbox.CodeUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, seen := newWorld(t), &recorder{}
			w.serve(host, address, seen.note(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/v2/" || c.status < 0 { // below 0: of whatever is asked
					w.WriteHeader(max(c.status, -c.status))
				}
			})))
			img, err := w.client(registry.Rules{}).Find(t.Context(), host+"/a/b:1")
			if img != nil || sandbox.CodeOf(err) != c.want {
				t.Errorf("Find = %v, %v; want %q", img, err, c.want)
			}
			if n := strings.Count(seen.all(), "/manifests/"); n > 1 {
				t.Errorf("asked %d times", n) // a client asks again, if it wants to know
			}
		})
	}
}

// Who may be asked at all.
func TestAllowed(t *testing.T) {
	t.Parallel()
	some := registry.Rules{Allow: []string{"r.example.com", "*.elsewhere.test", "p.example.com:5050", "docker.io"}, Private: []string{"10.9.9.9:5000"}}
	for name, c := range map[string]struct {
		rules     registry.Rules
		reference string
		want      sandbox.Code
	}{
		"any public one":               {registry.Rules{}, "r.example.com/a/dated:1", ""},
		"another port":                 {registry.Rules{}, "p.example.com:5050/a/dated:1", sandbox.CodeForbidden},
		"a port that is listed":        {some, "p.example.com:5050/a/dated:1", ""},
		"a listed host's other port":   {some, "r.example.com:5050/a/dated:1", sandbox.CodeForbidden},
		"listed":                       {some, "r.example.com/a/dated:1", ""},
		"listed, otherwise written":    {some, "r.example.com.:443/a/dated:1", ""},
		"below a listed name":          {some, "x.elsewhere.test/a/dated:1", ""},
		"that name itself":             {some, "elsewhere.test/a/dated:1", sandbox.CodeForbidden},
		"not listed":                   {some, "q.example.com/a/dated:1", sandbox.CodeForbidden},
		"a name that only ends so":     {some, "xelsewhere.test/a/dated:1", sandbox.CodeForbidden},
		"Docker Hub by its other name": {some, "a/dated:1", ""},
		"inside, listed as that":       {some, "10.9.9.9:5000/a/dated:1", sandbox.CodeUnavailable}, // no one is there
		"inside, another port":         {some, "10.9.9.9/a/dated:1", sandbox.CodeForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, h := newWorld(t), newWarehouse(t)
			for server, at := range map[string]string{
				host: address, "p.example.com": "93.184.216.35:5050", "q.example.com": "93.184.216.36:443",
				"x.elsewhere.test": "93.184.216.37:443", "xelsewhere.test": "93.184.216.38:443", "index.docker.io": "93.184.216.39:443",
			} {
				w.serve(server, at, h)
			}
			w.name("r.example.com.", "93.184.216.34")
			img, err := w.client(c.rules).Find(t.Context(), c.reference)
			if sandbox.CodeOf(err) != c.want || (img != nil) != (c.want == "") {
				t.Errorf("Find = %v, %v; want %q", img, err, c.want)
			}
			if got := w.connections(); c.want == sandbox.CodeForbidden && got != "" {
				t.Errorf("connected to %s", got)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	bad := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(bad, []byte(`{"auths":{"r.example.com":{"auth":"secret-value"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := registry.New(registry.Rules{
		Allow: []string{"https://r.example.com"}, Private: []string{"a*b"}, Insecure: []string{"a/b"}, Realms: map[string]string{"a": "b/c"},
	}, nil, zap.NewNop())
	for _, want := range []string{"REGISTRY_ALLOW", "REGISTRY_PRIVATE", "REGISTRY_INSECURE", "REGISTRY_REALMS"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not told: %v", want, err)
		}
	}
	_, err = registry.New(registry.Rules{}, []string{bad}, zap.NewNop())
	if err == nil || !strings.Contains(err.Error(), "REGISTRY_AUTH_FILES") || strings.Contains(err.Error(), "secret") {
		t.Errorf("New: %v", err)
	}
}
