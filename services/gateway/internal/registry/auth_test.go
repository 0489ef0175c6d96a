package registry_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/gateway/internal/registry"
)

func basic(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
}

// config is a Docker configuration of user:password at a key.
func config(key, user string) string {
	return fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, key, basic(user, "secret-value"))
}

// tokens answers requests for tokens that present user, as a realm does.
func tokens(user string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Basic "+basic(user, "secret-value") && r.PostFormValue("refresh_token") != "secret-value" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = fmt.Fprint(w, `{"token":"t-of-`+user+`"}`)
	})
}

// private answers who has the token of user, or presents user itself.
func private(realm, user string, h http.Handler) http.Handler {
	ask := `Basic realm="registry"`
	if realm != "" {
		ask = fmt.Sprintf(`Bearer realm=%q,service="registry"`, realm)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch got := r.Header.Get("Authorization"); {
		case r.URL.Path == "/token":
			tokens(user).ServeHTTP(w, r)
		case got == "Bearer t-of-"+user || realm == "" && got == "Basic "+basic(user, "secret-value"):
			h.ServeHTTP(w, r)
		default:
			w.Header().Set("WWW-Authenticate", ask)
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
}

// Credentials work, with each way to ask for them that real registries have.
func TestCredentials(t *testing.T) {
	t.Parallel()
	identity := `{"auths":{"r.example.com":{"identitytoken":"secret-value"}}}`
	for name, c := range map[string]struct {
		host, realm, config string
		rules               registry.Rules
	}{
		"Basic, as ECR":                          {host, "", config(host, "u"), registry.Rules{}},
		"a realm of its own, as GHCR and ACR":    {host, "https://r.example.com/token", config(host, "u"), registry.Rules{}},
		"a realm beside it, as Docker Hub":       {"index.docker.io", "https://auth.docker.io/token", config("https://index.docker.io/v1/", "u"), registry.Rules{}},
		"a realm above it, as GitLab":            {host, "https://example.com/token", config(host, "u"), registry.Rules{}},
		"a realm of another domain, configured":  {host, "https://t.elsewhere.test/token", config(host, "u"), registry.Rules{Realms: map[string]string{host: "t.elsewhere.test"}}},
		"a realm of another port, configured":    {host, "https://r.example.com:5001/token", config(host, "u"), registry.Rules{Realms: map[string]string{host: "r.example.com:5001"}}},
		"an identity token, exchanged by a POST": {host, "https://r.example.com/token", identity, registry.Rules{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.serve(c.host, address, private(c.realm, "u", newWarehouse(t)))
			for realm, at := range map[string]string{
				"auth.docker.io": "93.184.216.41:443", "example.com": "93.184.216.42:443", "t.elsewhere.test": "93.184.216.43:443",
			} {
				w.serve(realm, at, tokens("u"))
			}
			w.serve("port of its own", "93.184.216.34:5001", tokens("u"))
			if img, err := w.client(c.rules, c.config).Find(t.Context(), c.host+"/a/dated:1"); err != nil || img == nil {
				t.Errorf("Find = %v, %v", img, err)
			}
			if img, err := w.client(c.rules).Find(t.Context(), c.host+"/a/dated:1"); err != nil || img != nil {
				t.Errorf("without credentials: Find = %v, %v", img, err)
			}
			wrong := strings.NewReplacer(basic("u", "secret-value"), basic("u", "wrong"), `"secret-value"`, `"wrong"`).Replace(c.config)
			if img, err := w.client(c.rules, wrong).Find(t.Context(), c.host+"/a/dated:1"); sandbox.CodeOf(err) != sandbox.CodeUnavailable {
				t.Errorf("with wrong credentials: Find = %v, %v", img, err)
			}
		})
	}
}

// No other host sees credentials, or the tokens that they were exchanged for.
func TestCredentialsStayAtHome(t *testing.T) {
	t.Parallel()
	identity := `{"auths":{"r.example.com":{"identitytoken":"secret-value"}}}`
	far := "https://far.elsewhere.test"
	for name, c := range map[string]struct {
		handler func(h http.Handler) http.Handler
		config  string
		want    sandbox.Code
	}{
		"realm elsewhere":          {func(h http.Handler) http.Handler { return challenge(far+"/token", h) }, config(host, "u"), sandbox.CodeForbidden},
		"realm elsewhere, by POST": {func(h http.Handler) http.Handler { return challenge(far+"/token", h) }, identity, sandbox.CodeForbidden},
		"realm sends on": {func(h http.Handler) http.Handler {
			return redirect(far+"/token", private("https://"+host+"/token", "u", h), "/token")
		}, config(host, "u"), sandbox.CodeUnavailable},
		"realm sends on, by POST": {func(h http.Handler) http.Handler {
			return redirect(far+"/token", private("https://"+host+"/token", "u", h), "/token")
		}, identity, sandbox.CodeForbidden},
		"manifest elsewhere": {func(h http.Handler) http.Handler {
			return private("https://"+host+"/token", "u", redirect(far+"/m", h, "/v2/a/dated/manifests/"))
		}, config(host, "u"), sandbox.CodeUnavailable},
		"manifest elsewhere, Basic": {func(h http.Handler) http.Handler {
			return private("", "u", redirect(far+"/m", h, "/v2/a/dated/manifests/"))
		}, config(host, "u"), sandbox.CodeUnavailable},
		"blob elsewhere": {func(h http.Handler) http.Handler {
			return private("https://"+host+"/token", "u", redirect(far+"/b", h, "/v2/a/dated/blobs/"))
		}, config(host, "u"), sandbox.CodeUnavailable},
		"ping elsewhere":             {func(h http.Handler) http.Handler { return redirect(far+"/v2/", h, "/v2/") }, config(host, "u"), sandbox.CodeForbidden},
		"another registry's":         {func(h http.Handler) http.Handler { return private("", "u", h) }, config("q.example.com", "u"), ""},
		"another repository's":       {func(h http.Handler) http.Handler { return private("", "u", h) }, config(host+"/b", "u"), ""},
		"one whose name only begins": {func(h http.Handler) http.Handler { return private("", "u", h) }, config(host+"/a/date", "u"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, seen := newWorld(t), &recorder{}
			w.serve(host, address, c.handler(newWarehouse(t)))
			// It asks for all that it can ask for.
			w.serve("far.elsewhere.test", "93.184.216.51:443", seen.note(private(far+"/other", "u", http.NotFoundHandler())))
			_, err := w.client(registry.Rules{}, c.config).Find(t.Context(), host+"/a/dated:1")
			if sandbox.CodeOf(err) != c.want {
				t.Errorf("Find: %v, want %q", err, c.want)
			}
			for _, secret := range []string{"secret-value", basic("u", "secret-value"), "t-of-u"} {
				if strings.Contains(seen.all(), secret) || err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("%q left: %v, %v", secret, err, seen.all())
				}
			}
		})
	}
}

func TestRealms(t *testing.T) {
	t.Parallel()
	rules := registry.Rules{Realms: map[string]string{"rg.fr-par.scw.cloud": "api.scaleway.com", "docker.io": "a.example.com"}, Private: []string{"r.corp.test:5001"}}
	for _, c := range []struct {
		registry, realm string
		want            bool
	}{
		{"index.docker.io", "auth.docker.io", true},
		{"ghcr.io", "ghcr.io", true},
		{"GHCR.io", "ghcr.io:443", true},
		{"registry.gitlab.com", "gitlab.com", true},
		{"registry.digitalocean.com", "api.digitalocean.com", true},
		{"team.azurecr.io", "team.azurecr.io", true},
		{"rg.fr-par.scw.cloud", "api.scaleway.com", true}, // configured
		{"rg.fr-par.scw.cloud", "api.scaleway.com:444", false},
		{"other.scw.cloud", "api.scaleway.com", false},
		{"index.docker.io", "a.example.com", true},
		{"ghcr.io", "evil.io", false},
		{"ghcr.io", "ghcr.io.evil.com", false},
		{"registry.example.co.uk", "auth.evil.co.uk", false}, // co.uk is nobody's
		{"mine.github.io", "yours.github.io", false},
		{"r.example.com", "r.example.com:5001", false},
		{"r.corp.test", "r.corp.test:5001", true}, // a port that is configured
		{"93.184.216.34", "94.184.216.34", false},
		{"10.0.0.1:5000", "10.0.0.1:5000", true},
		{"registry", "auth", false},
		{"localhost:5000", "localhost:5001", false},
	} {
		if got := registry.MayHaveCredentials(rules, c.registry, c.realm); got != c.want {
			t.Errorf("%s → %s: %v", c.registry, c.realm, got)
		}
	}
}

// Of the entries that fit the closest counts, as the kubelet takes it.
func TestCredentialOf(t *testing.T) {
	t.Parallel()
	entry := func(key, user string) string { return fmt.Sprintf(`%q:{"username":%q,"password":"p"}`, key, user) }
	file := `{"auths":{` + strings.Join([]string{
		entry("https://index.docker.io/v1/", "hub"), entry("r.example.com", "all"), entry("r.example.com/team", "team"), entry("https://r.example.com/team/deep/", "deep"),
		entry("R2.example.com:443/v2/", "two"), entry("r.example.com:5000", "port"), entry("*.example.com", "star"), entry("*.azurecr.*", "azure"), `"helper.example.com":{}`,
	}, ",") + `},"credsStore":"desktop","credHelpers":{"x.example.com":"desktop"}}`
	for repository, want := range map[string]string{
		"library/a": "hub", "docker.io/x/a": "hub", "r.example.com/a": "all", "r.example.com/teams/a": "all", "r.example.com/team/a": "team", "r.example.com/team": "team",
		"r.example.com/team/deep/a": "deep", "r2.example.com/a": "two", "r.example.com:5000/a": "port", "r.example.com:5001/a": "", "q.example.com/a": "star",
		"q.p.example.com/a": "", "example.com/a": "", "q.azurecr.io/a": "azure", "helper.example.com/a": "star", "r.example.com.evil.test/a": "", "evilr.example.com/a": "star",
	} {
		got, err := registry.Credential(file, repository)
		if err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", repository, got, err, want)
		}
	}
	for _, bad := range []string{
		"", "secret-value", `{"auths":"secret-value"}`, `{"auths":{"r.example.com":"secret-value"}}`, `{"auths":{"r.example.com":{"auth":"secret-value!"}}}`,
		`{"auths":{"r.example.com":{"auth":"c2VjcmV0"}}}`, `{"auths":{"r.example.com":{"username":1234567}}}`, `{"auths":{"a b":{}}}`, `{"auths":{"":{}}}`,
	} {
		if _, err := registry.Credential(bad, "a"); err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "1234567") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// Credentials are read anew when their folder changes, and what was found with
// earlier ones is asked for again.
func TestCredentialsChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve(host, address, private("", "new", newWarehouse(t)))
	folder := t.TempDir()
	lines := make(chan string, 16)
	c, err := registry.New(registry.Rules{}, []string{folder}, logInto(lines))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	c.SetNetwork(w, w.connect, w.roots)
	run(t, c.Watch)
	if img, err := c.Find(t.Context(), host+"/a/dated:1"); img != nil || err != nil {
		t.Errorf("without credentials: Find = %v, %v", img, err)
	}
	mountSecret(t, folder, "..2026_1", ".dockerconfigjson", config(host, "new"))
	select {
	case line := <-lines:
		if !strings.Contains(line, "reloaded") {
			t.Fatalf("logged %q", line)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("not read again")
	}
	if img, err := c.Find(t.Context(), host+"/a/dated:1"); img == nil || err != nil {
		t.Errorf("with credentials: Find = %v, %v", img, err)
	}
}

// mountSecret lays a Secret's key into a folder as the kubelet does: the files of a
// version in a folder of its own, a link to that, which is swapped, and one for each
// key.
func mountSecret(t *testing.T, folder, version, key, value string) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(folder, version), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, version, key), []byte(value), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"..data_tmp": version, key: filepath.Join("..data", key)} {
		if err := os.Symlink(to, filepath.Join(folder, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(folder, "..data_tmp"), filepath.Join(folder, "..data")); err != nil {
		t.Fatal(err)
	}
}
