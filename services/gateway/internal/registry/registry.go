// Package registry asks image registries whether an image is there. Who asks for
// it is a stranger, and so may be the registry: neither must come into the
// network, or at credentials, by way of the gateway.
package registry

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/jellydator/ttlcache/v3"
	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

const (
	// Timeout bounds one question. Clients wait 30 s at most, and ask for
	// several tags one after the other.
	Timeout = 5 * time.Second
	// MaxLookUps run at a time; each holds up to some MiB.
	MaxLookUps = 16
	// A client that builds an image asks before and after: what is not there is
	// soon asked for again.
	presentFor = 30 * time.Second
	absentFor  = 5 * time.Second
	maxKnown   = 2048
	// maxHeaders of an answer, in bytes.
	maxHeaders = 64 << 10
)

// Image is what is told of an image that is there.
type Image struct {
	UploadTime string // RFC 3339; "" where the image does not say when it was made
	Size       int64  // bytes of config and layers, as stored; 0 where unknown
}

// question is what an answer is kept by. Answers that were had with one
// credential are not given for another, nor after it was read anew.
type question struct {
	reference string
	as        *credential // nil: no one
}

// Client asks registries.
type Client struct {
	rules     *rules
	keychain  *keychain
	dialer    *dialer
	transport *http.Transport
	ask       func(context.Context, name.Reference, *credential) (*Image, error)

	known   *ttlcache.Cache[question, *Image]
	flights singleflight.Group
	slots   *semaphore.Weighted
	life    context.Context // of all look-ups
	end     context.CancelFunc
}

// New returns a client that keeps to the rules. authFiles are Docker
// configurations, or folders of them.
func New(r Rules, authFiles []string, log *zap.Logger) (*Client, error) {
	parsed, err := r.parse()
	if err != nil {
		return nil, err
	}
	keys, err := newKeychain(authFiles, log)
	if err != nil {
		return nil, err
	}
	c := newClient(parsed, keys)
	c.ask = c.askRegistry
	return c, nil
}

func newClient(r *rules, keys *keychain) *Client {
	c := &Client{
		rules: r, keychain: keys, dialer: newDialer(r), slots: semaphore.NewWeighted(MaxLookUps),
		known: ttlcache.New(ttlcache.WithCapacity[question, *Image](maxKnown), ttlcache.WithDisableTouchOnHit[question, *Image]()),
	}
	// No proxy, whatever the environment says: it would dial in our place.
	c.transport = &http.Transport{
		DialContext: c.dialer.dial, TLSHandshakeTimeout: 3 * time.Second, ForceAttemptHTTP2: true,
		MaxIdleConns: 2 * MaxLookUps, MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second,
		MaxResponseHeaderBytes: maxHeaders, DisableCompression: true,
	}
	c.life, c.end = context.WithCancel(context.Background())
	return c
}

// Watch reads the credentials again when their files change, until ctx ends.
func (c *Client) Watch(ctx context.Context) error { return c.keychain.files.Run(ctx) }

// Close ends all look-ups and waits for them.
func (c *Client) Close() {
	c.end()
	_ = c.slots.Acquire(context.Background(), MaxLookUps) // never given back
	c.transport.CloseIdleConnections()
}

// Find returns the image, or nil if the registry has none by this reference, or
// none that these credentials may see. CodeInvalid: it is no reference.
// CodeForbidden: the registry may not be asked, or refers to what may not.
// CodeUnavailable: the registry did not say, or too many are asked.
func (c *Client) Find(ctx context.Context, reference string) (*Image, error) {
	ref, registry, err := c.parse(reference)
	if err != nil {
		return nil, err
	}
	if !c.rules.mayBeAsked(registry) {
		return nil, sandbox.Errorf(sandbox.CodeForbidden, "the registry %.256s is not one that this server asks", registry)
	}
	q := question{ref.Name(), c.keychain.find(ref.Context())}
	if answer := c.known.Get(q); answer != nil {
		return answer.Value(), nil
	}
	// All who ask the same wait for one look-up, which does not end with any of
	// them.
	answer := c.flights.DoChan(fmt.Sprintf("%s %p", q.reference, q.as), func() (any, error) { return c.lookUp(q, ref) })
	select {
	case <-ctx.Done():
		return nil, sandbox.Wrap(ctx.Err(), sandbox.CodeUnavailable, "the registry %.256s was not waited for", registry)
	case a := <-answer:
		img, _ := a.Val.(*Image)
		return img, a.Err
	}
}

func (c *Client) lookUp(q question, ref name.Reference) (img *Image, err error) {
	if !c.slots.TryAcquire(1) {
		return nil, sandbox.Errorf(sandbox.CodeUnavailable, "too many images are looked up at once, try again")
	}
	defer c.slots.Release(1)
	// What a registry answers must not end the process, whatever a library makes
	// of it.
	defer func() {
		if p := recover(); p != nil {
			img, err = nil, fmt.Errorf("panic in the look-up of an image: %v", p)
		}
	}()
	ctx, cancel := context.WithTimeout(c.life, Timeout)
	defer cancel()
	if img, err = c.ask(ctx, ref, q.as); err != nil {
		return nil, err
	}
	keep := presentFor
	if img == nil {
		keep = absentFor
	}
	c.known.Set(q, img, keep)
	return img, nil
}

func (c *Client) parse(reference string) (name.Reference, authority, error) {
	invalid := sandbox.Errorf(sandbox.CodeInvalid, "image %.128q is not an image reference", reference)
	// An image that no sandbox could be started of is none.
	if (&sandbox.Spec{Image: reference, ResourceFactor: 1}).Validate() != nil {
		return nil, authority{}, invalid
	}
	ref, err := name.ParseReference(reference)
	if err != nil {
		return nil, authority{}, invalid
	}
	registry, err := parseAuthority(ref.Context().RegistryStr())
	if err != nil {
		return nil, authority{}, invalid
	}
	if c.rules.insecure.have(registry) {
		ref, err = name.ParseReference(reference, name.Insecure)
	}
	return ref, registry, err
}
