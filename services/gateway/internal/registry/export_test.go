package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"

	"github.com/google/go-containerregistry/pkg/name"
)

// Public and PublicOnly judge addresses.
var (
	Public     = public
	PublicOnly = publicOnly
)

// Resolver finds addresses in place of DNS.
type Resolver = resolver

// SetNetwork replaces what lies outside of the process: DNS, connections to
// addresses that were looked at, and the authorities of certificates.
func (c *Client) SetNetwork(r Resolver, connect func(ctx context.Context, network, address string) (net.Conn, error), roots *x509.CertPool) {
	c.dialer.resolve, c.dialer.inside, c.dialer.outside = r, connect, connect
	c.transport.TLSClientConfig = &tls.Config{RootCAs: roots}
}

// NewAsking returns a client whose answers come from a function.
func NewAsking(ask func(ctx context.Context, reference string) (*Image, error)) *Client {
	c := newClient(&rules{}, &keychain{})
	c.keychain.entries.Store(&[]*credential{})
	c.ask = func(ctx context.Context, ref name.Reference, _ *credential) (*Image, error) {
		return ask(ctx, ref.Name())
	}
	return c
}

// Credential is the user whose credential goes with a repository, "" for none.
func Credential(config, repository string) (string, error) {
	entries, err := parseConfig([]byte(config))
	if err != nil {
		return "", err
	}
	k := &keychain{}
	k.entries.Store(&entries)
	repo, err := name.NewRepository(repository)
	if err != nil {
		return "", err
	}
	if c := k.find(repo); c != nil {
		return c.auth.Username, nil
	}
	return "", nil
}

// MayHaveCredentials reports whether a realm may have a registry's.
func MayHaveCredentials(r Rules, registry, realm string) bool {
	parsed, err := r.parse()
	if err != nil {
		panic(err)
	}
	from, err := parseAuthority(registry)
	if err != nil {
		panic(err)
	}
	to, err := parseAuthority(realm)
	return err == nil && parsed.mayHaveCredentials(from, to)
}

// Guard is the transport of a look-up in a registry that there are credentials
// for.
func Guard(r Rules, registry string, next http.RoundTripper) http.RoundTripper {
	parsed, err := r.parse()
	if err != nil {
		panic(err)
	}
	from, err := parseAuthority(registry)
	if err != nil {
		panic(err)
	}
	return &guard{next: next, rules: parsed, registry: from, secret: true}
}
