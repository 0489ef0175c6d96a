// Package registry asks image registries whether an image is there.
package registry

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// Timeout bounds one question. Clients wait 30 s at most, and ask for several
// tags one after the other.
const Timeout = 5 * time.Second

// maxReference is longer than any reference that can name an image.
const maxReference = 1024

// Image is what is told of an image that is there.
type Image struct {
	UploadTime string // RFC 3339; "" where the image does not say when it was made
	Size       int64  // bytes of config and layers, as stored; 0 where unknown
}

// Client asks registries, with the credentials of the Docker configuration
// where there is one.
type Client struct {
	transport *http.Transport
	insecure  []string
}

// New returns a client that speaks plain HTTP to the insecure hosts (host or
// host:port). Loopback and private addresses may be spoken to so anyway.
func New(insecure []string) *Client {
	dialer := net.Dialer{Timeout: 3 * time.Second}
	return &Client{insecure: insecure, transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext,
		TLSHandshakeTimeout: 3 * time.Second, ForceAttemptHTTP2: true,
		MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second,
	}}
}

// Close gives up idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Find returns the image, or nil if the registry has none by this reference, or
// none that these credentials may see. CodeInvalid: it is no reference.
// CodeUnavailable: the registry did not say.
func (c *Client) Find(ctx context.Context, reference string) (*Image, error) {
	ref, err := c.parse(reference)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	d, err := remote.Get(ref, remote.WithContext(ctx), remote.WithTransport(c.transport),
		remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithUserAgent("sandbar-gateway"))
	switch {
	case err == nil:
		return describe(d), nil
	case absent(err):
		return nil, nil
	}
	return nil, sandbox.Wrap(err, sandbox.CodeUnavailable, "the registry %s does not say whether the image is there, try again", ref.Context().RegistryStr())
}

func (c *Client) parse(reference string) (name.Reference, error) {
	invalid := sandbox.Errorf(sandbox.CodeInvalid, "image %.128q is not an image reference", reference)
	if reference == "" || len(reference) > maxReference {
		return nil, invalid
	}
	ref, err := name.ParseReference(reference)
	if err != nil {
		return nil, invalid
	}
	host := ref.Context().RegistryStr()
	bare, _, err := net.SplitHostPort(host)
	if slices.Contains(c.insecure, host) || err == nil && slices.Contains(c.insecure, bare) {
		return name.ParseReference(reference, name.Insecure)
	}
	return ref, nil
}

// absent: registries say 401 or 403 in place of 404 where a repository is not
// there, so that nobody learns which private ones are.
func absent(err error) bool {
	var e *transport.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.StatusCode {
	case http.StatusNotFound, http.StatusUnauthorized, http.StatusForbidden:
		return true
	}
	return false
}

// describe tells what the image itself tells; that it is there is known already.
func describe(d *remote.Descriptor) *Image {
	out := &Image{}
	img, err := d.Image()
	if err != nil {
		return out // an index without an image for linux/amd64, or a form of old
	}
	if m, err := img.Manifest(); err == nil {
		out.Size = size(m)
	}
	if cfg, err := img.ConfigFile(); err == nil && !cfg.Created.IsZero() {
		out.UploadTime = cfg.Created.UTC().Format(time.RFC3339)
	}
	return out
}

func size(m *v1.Manifest) int64 {
	n := m.Config.Size
	for _, l := range m.Layers {
		n += l.Size
	}
	return n
}
