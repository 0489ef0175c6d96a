package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/filewatch"
)

// credential is one entry of a Docker configuration.
type credential struct {
	host authority // each label may be a pattern, as in pull Secrets: *.example.com
	path string    // of repositories that it is for; "": all
	auth authn.AuthConfig
}

// keychain holds the entries of all Docker configurations. It runs no
// credential helpers. A reading makes new credentials, so that what was found
// out with earlier ones is not theirs.
type keychain struct {
	files   *filewatch.Watch
	entries atomic.Pointer[[]*credential]
}

func newKeychain(paths []string, log *zap.Logger) (*keychain, error) {
	k := &keychain{}
	k.entries.Store(&[]*credential{})
	var err error
	k.files, err = filewatch.New("REGISTRY_AUTH_FILES", paths, k.take, log)
	return k, err
}

func (k *keychain) take(files []filewatch.File) error {
	var all []*credential
	var errs []error
	for _, f := range files {
		entries, err := parseConfig(f.Body)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.Path, err))
		}
		all = append(all, entries...)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	k.entries.Store(&all)
	return nil
}

// parseConfig reads a Docker configuration. Errors cite nothing but the names of
// its entries.
func parseConfig(body []byte) ([]*credential, error) {
	var file struct {
		Auths map[string]json.RawMessage `json:"auths"`
	}
	if err := json.Unmarshal(body, &file); err != nil {
		return nil, errors.New("it is no Docker configuration")
	}
	var out []*credential
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(file.Auths)) {
		c := &credential{}
		var err error
		if c.host, c.path, err = parseKey(key); err != nil {
			errs = append(errs, fmt.Errorf("auths: %w", err))
			continue
		}
		if json.Unmarshal(file.Auths[key], &c.auth) != nil {
			errs = append(errs, fmt.Errorf("auths: the entry of %.64q is not user and password, or auth in base64", key))
			continue
		}
		if c.auth != (authn.AuthConfig{}) { // it is, where a helper keeps the credentials
			out = append(out, c)
		}
	}
	return out, errors.Join(errs...)
}

// parseKey reads host, host:port, host/path, or any of these as a URL. The
// paths /v1 and /v2 are the API's.
func parseKey(key string) (authority, string, error) {
	rest := strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	host, below, _ := strings.Cut(rest, "/")
	a, err := parseAuthority(host)
	below = strings.Trim(below, "/")
	if below == "v1" || below == "v2" {
		below = ""
	}
	return a, below, err
}

// find is the credential for a repository: of those that fit, the one with the
// longest path, then the one without a pattern, then the first.
func (k *keychain) find(repo name.Repository) *credential {
	registry, err := parseAuthority(repo.RegistryStr())
	if err != nil {
		return nil
	}
	var best *credential
	for _, c := range *k.entries.Load() {
		if c.fits(registry, repo.RepositoryStr()) && (best == nil || c.closerThan(best)) {
			best = c
		}
	}
	return best
}

func (c *credential) fits(registry authority, repository string) bool {
	if c.host.port != registry.port || !hostFits(c.host.host, registry.host) {
		return false
	}
	return c.path == "" || repository == c.path || strings.HasPrefix(repository, c.path+"/")
}

// hostFits compares label by label: a star never stands for two.
func hostFits(pattern, host string) bool {
	p, h := strings.Split(pattern, "."), strings.Split(host, ".")
	if len(p) != len(h) {
		return false
	}
	for i := range p {
		if ok, err := path.Match(p[i], h[i]); err != nil || !ok {
			return false
		}
	}
	return true
}

func (c *credential) closerThan(other *credential) bool {
	if len(c.path) != len(other.path) {
		return len(c.path) > len(other.path)
	}
	return !strings.Contains(c.host.host, "*") && strings.Contains(other.host.host, "*")
}

// authenticator presents it; nil presents nothing.
func (c *credential) authenticator() authn.Authenticator {
	if c == nil {
		return authn.Anonymous
	}
	return authn.FromConfig(c.auth)
}
