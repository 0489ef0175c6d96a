package registry

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
)

// What one look-up may cost, whatever the registry answers. A manifest has some
// KiB and up to 127 layers; an image's configuration seldom more than 100 KiB.
// What JSON becomes in memory grows with its members, and each has a comma.
const (
	maxRequests = 20 // tokens, manifests, a configuration, and their redirects
	maxBytes    = 1 << 20
	maxCommas   = 16 << 10
)

var (
	comma          = []byte(",")
	errTooMuch     = errors.New("the registry answers with more than is read")
	errRealm       = errors.New("the registry wants its credentials to be sent to a host that may not have them")
	errCredentials = errors.New("the registry does not take the credentials")
)

// guard is the transport of one look-up: it looks at every request that the
// library makes, redirects and requests for tokens included, before it is sent.
type guard struct {
	next     http.RoundTripper
	rules    *rules
	registry authority
	secret   bool // there are credentials

	requests, bytes, commas atomic.Int64
}

func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	sent, err := g.admit(r)
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // as every RoundTripper must; nothing was read
		}
		return nil, err
	}
	resp, err := g.next.RoundTrip(sent)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusUnauthorized && g.secret && presents(sent) {
		_ = resp.Body.Close() // not read
		return nil, errCredentials
	}
	resp.Body = &limited{ReadCloser: resp.Body, guard: g}
	return resp, nil
}

func (g *guard) admit(r *http.Request) (*http.Request, error) {
	if g.requests.Add(1) > maxRequests {
		return nil, errTooMuch
	}
	if err := g.rules.mayReach(g.registry, r.URL); err != nil {
		return nil, err
	}
	target, err := parseAuthority(r.URL.Host)
	if err != nil || !g.secret || target == g.registry {
		return r, err
	}
	if presents(r) {
		if !g.rules.mayHaveCredentials(g.registry, target) {
			return nil, errRealm
		}
		return r, nil
	}
	// A token of the registry is for the registry: where that sends us for a
	// blob has no use for it.
	r = r.Clone(r.Context())
	r.Header.Del("Authorization")
	return r, nil
}

// presents: the request carries the credentials themselves, as a header, or as
// a body, which only a request for a token has.
func presents(r *http.Request) bool {
	return r.Method != http.MethodGet && r.Method != http.MethodHead ||
		strings.HasPrefix(strings.ToLower(r.Header.Get("Authorization")), "basic ")
}

// limited is a body that ends with an error where the look-up has read enough.
type limited struct {
	io.ReadCloser
	guard *guard
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	commas := int64(bytes.Count(p[:n], comma))
	if l.guard.bytes.Add(int64(n)) > maxBytes || l.guard.commas.Add(commas) > maxCommas {
		return 0, errTooMuch
	}
	return n, err
}
