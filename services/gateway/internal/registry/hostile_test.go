package registry_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/gateway/internal/registry"
)

const manifestType = "application/vnd.oci.image.manifest.v1+json"

// manifest answers the manifest of a/b:1 with a body.
func manifest(body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			return
		}
		w.Header().Set("Content-Type", manifestType)
		_, _ = io.WriteString(w, body)
	})
}

// Whatever a registry answers, the look-up ends, says that it does not know, and
// does not believe it.
func TestHostileAnswers(t *testing.T) {
	t.Parallel()
	const configBlob = `{"architecture":"amd64","os":"linux","created":"2026-01-02T03:04:05Z"}`
	layers := func(size string) string {
		return `{"schemaVersion":2,"config":{"size":1,"digest":"sha256:` + zeros + `"},"layers":[{"size":` + size + `,"digest":"sha256:` + zeros + `"}]}`
	}
	loop := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			http.Redirect(w, r, r.URL.Path+"/x", http.StatusFound)
		}
	})
	for name, c := range map[string]struct {
		handler   http.Handler
		reference string
		told      string
	}{
		"no JSON":               {manifest("not JSON"), "", "does not say"},
		"half JSON":             {manifest(`{"schemaVersion":2,`), "", "does not say"},
		"empty":                 {manifest(""), "", "does not say"},
		"an array":              {manifest("[]"), "", "does not say"},
		"an empty object":       {manifest("{}"), "", "does not say"},
		"deep JSON":             {manifest(strings.Repeat(`{"a":`, 100_000)), "", "does not say"},
		"a page":                {http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }), "", "does not say"},
		"another digest":        {manifest(layers("1")), "@sha256:" + zeros, "does not say"},
		"negative size":         {manifest(layers("-1")), "", "does not say"},
		"sizes beyond a number": {manifest(layers("9223372036854775807")), "", "does not say"},
		"size of no number":     {manifest(layers("1e400")), "", "does not say"},
		"a config of another digest": {manifest(`{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":` + fmt.Sprint(len(configBlob)) +
			`,"digest":"sha256:` + zeros + `"},"layers":[]}`), "", "does not say"},
		"huge manifest":     {manifest(`{"x":"` + strings.Repeat("x", 2<<20) + `"}`), "", "more than is read"},
		"many layers":       {manifest(`{"layers":[` + strings.Repeat("{},", 20_000) + `{}]}`), "", "more than is read"},
		"endless manifest":  {endless(manifestType), "", "more than is read"},
		"endless redirects": {loop, "", "more than is read"},
		"a loop":            {redirect("/v2/a/b/manifests/1", manifest(""), "/v2/a/b/manifests/1"), "", "more than is read"},
		"long headers": {http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", 1<<20))
		}), "", "does not say"},
		"no HTTP": {http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				_, _ = io.WriteString(conn, "SSH-2.0-OpenSSH\r\n")
				_ = conn.Close()
			}
		}), "", "does not say"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.serve(host, address, c.handler)
			reference := c.reference
			if reference == "" {
				reference = ":1"
			}
			img, err := w.client(registry.Rules{}).Find(t.Context(), host+"/a/b"+reference)
			if img != nil || sandbox.CodeOf(err) != sandbox.CodeUnavailable || !strings.Contains(sandbox.MessageOf(err), c.told) {
				t.Errorf("Find = %v, %v; want %q", img, err, c.told)
			}
			if len(fmt.Sprint(err)) > 2000 {
				t.Errorf("the error has %d bytes", len(fmt.Sprint(err)))
			}
		})
	}
}

func endless(kind string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		line := []byte(strings.Repeat(" ", 1<<14))
		for r.Context().Err() == nil {
			if _, err := w.Write(line); err != nil {
				return
			}
		}
	})
}

// Whatever stands in WWW-Authenticate, and whatever a realm answers, with
// credentials or without.
func TestHostileChallenges(t *testing.T) {
	t.Parallel()
	own := `Bearer realm="https://r.example.com/token"`
	for name, c := range map[string]struct {
		challenge []string
		token     http.Handler
	}{
		"garbage":                     {[]string{"\x7f\x01,,,===\"\"\""}, nil},
		"a scheme of its own":         {[]string{`Negotiate abc`}, nil},
		"no realm":                    {[]string{`Bearer service="x"`}, nil},
		"an empty realm":              {[]string{`Bearer realm=""`}, nil},
		"a realm of no URL":           {[]string{`Bearer realm="%zz://"`}, nil},
		"a realm by its path":         {[]string{`Bearer realm="/token"`}, nil},
		"a quote left open":           {[]string{`Bearer realm="https://r.example.com/token`}, nil},
		"many":                        {[]string{`Bearer`, `Basic`, strings.Repeat(`Bearer realm="x",`, 1000), `Digest realm="x"`}, nil},
		"no token":                    {[]string{own}, answers(`{"refresh_token":"secret-token"}`)},
		"a token of no JSON":          {[]string{own}, answers(`secret-token`)},
		"an array":                    {[]string{own}, answers(`["secret-token"]`)},
		"an endless token":            {[]string{own}, endless("application/json")},
		"a token that breaks headers": {[]string{own}, answers(`{"token":"secret-token\r\nX-Evil: 1"}`)},
		"never enough":                {[]string{own}, answers(`{"token":"secret-token"}`)},
	} {
		for who, configs := range map[string][]string{"anonymous": nil, "with credentials": {config(host, "u")}} {
			t.Run(name+" "+who, func(t *testing.T) {
				t.Parallel()
				w, seen := newWorld(t), &recorder{}
				w.serve(host, address, seen.note(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/token" && c.token != nil {
						c.token.ServeHTTP(w, r)
						return
					}
					w.Header()["Www-Authenticate"] = c.challenge
					w.WriteHeader(http.StatusUnauthorized)
				})))
				img, err := w.client(registry.Rules{}, configs...).Find(t.Context(), host+"/a/b:1")
				if code := sandbox.CodeOf(err); img != nil || code != "" && code != sandbox.CodeUnavailable {
					t.Errorf("Find = %v, %v", img, err)
				}
				if err != nil && (strings.Contains(err.Error(), "secret-") || len(err.Error()) > 2000) {
					t.Errorf("the error cites what was answered: %.3000v", err)
				}
				if n := strings.Count(seen.all(), "\n"); n > 20 {
					t.Errorf("%d requests", n)
				}
			})
		}
	}
}

func answers(body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
}

// A registry that is slow, at whatever point, is not waited for.
func TestSlow(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/v2/", "/v2/a/dated/manifests/1", "/v2/a/dated/blobs/"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			w, h := newWorld(t), newWarehouse(t)
			gone := make(chan struct{})
			w.serve(host, address, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, path) && (path != "/v2/" || r.URL.Path == path) {
					w.WriteHeader(http.StatusOK)
					_ = http.NewResponseController(w).Flush() // and then nothing
					select {
					case <-r.Context().Done():
					case <-gone:
					}
					return
				}
				h.ServeHTTP(w, r)
			}))
			t.Cleanup(func() { close(gone) })
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			begin := time.Now()
			img, err := w.client(registry.Rules{}).Find(ctx, host+"/a/dated:1")
			if img != nil || sandbox.CodeOf(err) != sandbox.CodeUnavailable || time.Since(begin) > 3*time.Second {
				t.Errorf("Find = %v, %v after %s", img, err, time.Since(begin))
			}
		})
	}
}
