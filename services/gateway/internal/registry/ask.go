package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// askRegistry asks once, without repeating what failed: the client may.
func (c *Client) askRegistry(ctx context.Context, ref name.Reference, as *credential) (*Image, error) {
	registry, err := parseAuthority(ref.Context().RegistryStr())
	if err != nil {
		return nil, err
	}
	g := &guard{next: c.transport, rules: c.rules, registry: registry, secret: as != nil}
	d, err := remote.Get(ref, remote.WithContext(ctx), remote.WithTransport(g), remote.WithAuth(as.authenticator()),
		remote.WithUserAgent("sandbar-gateway"), remote.WithRetryBackoff(remote.Backoff{Steps: 1}))
	if absent(err, registry) {
		return nil, nil
	}
	if err != nil {
		return nil, problem(err, registry)
	}
	img, err := describe(d)
	if err != nil {
		return nil, problem(err, registry)
	}
	return img, nil
}

// absent: registries say 401 or 403 in place of 404 where a repository is not
// there, so that nobody learns which private ones are, and so may who makes
// their tokens. Where they sent us to says nothing by these, and a 404 is about
// an image only where a manifest was asked for.
func absent(err error, registry authority) bool {
	var e *transport.Error
	if !errors.As(err, &e) || e.Request == nil {
		return false
	}
	first := e.Request
	for first.Response != nil && first.Response.Request != nil {
		first = first.Response.Request
	}
	switch e.StatusCode {
	case http.StatusNotFound:
		return strings.Contains(first.URL.Path, "/manifests/")
	case http.StatusUnauthorized, http.StatusForbidden:
		from, bad := parseAuthority(e.Request.URL.Host)
		return first.URL.Path != "/v2/" && (first == e.Request || bad == nil && from == registry)
	}
	return false
}

// problem is what a client may know of err.
func problem(err error, registry authority) error {
	var r *refusal
	cause := logged(err)
	switch {
	case errors.As(err, &r):
		return sandbox.Wrap(cause, sandbox.CodeForbidden, "the registry %.256s has no public address, or refers to a host that may not be asked", registry)
	case errors.Is(err, errRealm):
		return sandbox.Wrap(cause, sandbox.CodeForbidden, "the registry %.256s wants credentials to be sent to another host", registry)
	case errors.Is(err, errCredentials):
		return sandbox.Wrap(cause, sandbox.CodeUnavailable, "the registry %.256s does not take this server's credentials", registry)
	case errors.Is(err, errTooMuch):
		return sandbox.Wrap(cause, sandbox.CodeUnavailable, "the registry %.256s answers with more than is read", registry)
	}
	return sandbox.Wrap(cause, sandbox.CodeUnavailable, "the registry %.256s does not say whether the image is there, try again", registry)
}

// logged is err without what others wrote into it: a registry's answer may hold
// a token, or anything.
func logged(err error) error {
	var r *refusal
	var answered *transport.Error
	var network net.Error
	switch {
	case errors.As(err, &r):
		return r
	case errors.As(err, &answered) && answered.Request != nil:
		return fmt.Errorf("%.256s answered %d", answered.Request.URL.Host, answered.StatusCode)
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case errors.Is(err, errTooMuch), errors.Is(err, errRealm), errors.Is(err, errCredentials):
		return nil // the message says it
	case errors.As(err, &network):
		return inner(err)
	}
	return errors.New("the answer cannot be used")
}

// inner is err without the URL, whose query is the registry's, and not longer
// than a name can make it.
func inner(err error) error {
	var op *net.OpError
	var cert *tls.CertificateVerificationError
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return fmt.Errorf("%.512s", dns.Error())
	case errors.As(err, &cert):
		return fmt.Errorf("TLS: %.512s", cert.Err.Error())
	case errors.As(err, &op):
		return fmt.Errorf("%.512s", op.Error())
	case errors.Is(err, errPlain):
		return errPlain
	}
	return errors.New("the connection failed")
}
