package registry_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	fake "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/services/gateway/internal/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is an internet of its own: names, addresses, and who serves there. What
// the client connects to is written down.
type world struct {
	t     *testing.T
	cert  tls.Certificate
	roots *x509.CertPool

	mu      sync.Mutex
	names   map[string][]netip.Addr
	asked   map[string]int              // look-ups of a name
	later   map[string][]netip.Addr     // what it says from the second look-up on
	servers map[string]*httptest.Server // by address and port
	dialled []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, names: map[string][]netip.Addr{}, asked: map[string]int{}, later: map[string][]netip.Addr{},
		servers: map[string]*httptest.Server{},
	}
	var err error
	if w.cert, err = certificate(); err != nil {
		t.Fatal(err)
	}
	w.roots = x509.NewCertPool()
	w.roots.AddCert(w.cert.Leaf)
	return w
}

// certificate is that of every server, and its own authority.
var certificate = sync.OnceValues(func() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"*.example.com", "*.elsewhere.test", "example.com", "index.docker.io", "auth.docker.io"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(raw)
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key, Leaf: leaf}, err
})

// serve puts a server with TLS at host:port, an address of its own.
func (w *world) serve(host, address string, h http.Handler) {
	w.t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{w.cert}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	w.at(host, address, s)
}

// servePlain is one without.
func (w *world) servePlain(host, address string, h http.Handler) {
	w.t.Helper()
	w.at(host, address, httptest.NewServer(h))
}

func (w *world) at(host, address string, s *httptest.Server) {
	w.t.Cleanup(s.Close)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.servers[address] = s
	w.names[host] = []netip.Addr{netip.MustParseAddrPort(address).Addr()}
}

// name makes a name lead to addresses.
func (w *world) name(host string, addrs ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names[host] = nil
	for _, a := range addrs {
		w.names[host] = append(w.names[host], netip.MustParseAddr(a))
	}
}

func (w *world) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked[host]++
	if later, ok := w.later[host]; ok && w.asked[host] > 1 {
		return later, nil
	}
	if addrs, ok := w.names[host]; ok {
		return addrs, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (w *world) connect(ctx context.Context, _, address string) (net.Conn, error) {
	w.mu.Lock()
	w.dialled = append(w.dialled, address)
	s := w.servers[address]
	w.mu.Unlock()
	if s == nil {
		return nil, errors.New("nobody is there")
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", s.Listener.Addr().String())
}

func (w *world) connections() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.dialled, " ")
}

func (w *world) client(r registry.Rules, configs ...string) *registry.Client {
	w.t.Helper()
	var files []string
	for _, body := range configs {
		file := filepath.Join(w.t.TempDir(), "config.json")
		if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
			w.t.Fatal(err)
		}
		files = append(files, file)
	}
	c, err := registry.New(r, files, zap.NewNop())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	c.SetNetwork(w, w.connect, w.roots)
	return c
}

// warehouse is a real registry with images in it: a/dated:1, a/undated:1, an
// index a/index:1 of both.
type warehouse struct {
	http.Handler
	dated, undated v1.Image
	index          v1.ImageIndex
}

var born = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newWarehouse(t *testing.T) *warehouse {
	t.Helper()
	h := &warehouse{Handler: fake.New(fake.Logger(log.New(io.Discard, "", 0)))}
	s := httptest.NewServer(h)
	defer s.Close()
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	ref := func(path string) name.Reference {
		r, err := name.ParseReference(strings.TrimPrefix(s.URL, "http://") + path)
		must(err)
		return r
	}
	var err error
	h.undated, err = random.Image(1000, 2)
	must(err)
	h.dated, err = random.Image(500, 1)
	must(err)
	h.dated, err = mutate.CreatedAt(h.dated, v1.Time{Time: born})
	must(err)
	h.index = indexOf(h.undated, "arm64", h.dated, "amd64")
	must(remote.Write(ref("/a/undated:1"), h.undated, remote.WithTransport(tr)))
	must(remote.Write(ref("/a/dated:1"), h.dated, remote.WithTransport(tr)))
	must(remote.WriteIndex(ref("/a/index:1"), h.index, remote.WithTransport(tr)))
	must(remote.WriteIndex(ref("/a/other:1"), indexOf(h.dated, "s390x", h.undated, "riscv64"), remote.WithTransport(tr)))
	return h
}

// indexOf is an index of two images, after an attestation that is for no platform.
func indexOf(x v1.Image, archX string, y v1.Image, archY string) v1.ImageIndex {
	add := func(img v1.Image, arch, os string) mutate.IndexAddendum {
		return mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{Architecture: arch, OS: os}}}
	}
	return mutate.AppendManifests(empty.Index, add(empty.Image, "unknown", "unknown"), add(x, archX, "linux"), add(y, archY, "linux"))
}

// whole is the size of config and layers.
func whole(t *testing.T, img v1.Image) int64 {
	t.Helper()
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	n := m.Config.Size
	for _, l := range m.Layers {
		n += l.Size
	}
	return n
}

// recorder notes what a server was sent.
type recorder struct {
	mu       sync.Mutex
	requests []string // method, path, Authorization and body of each
}

func (r *recorder) note(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		var body bytes.Buffer
		_, _ = body.ReadFrom(io.LimitReader(q.Body, 1<<16))
		r.mu.Lock()
		r.requests = append(r.requests, q.Method+" "+q.URL.Path+" "+q.Header.Get("Authorization")+" "+body.String())
		r.mu.Unlock()
		h.ServeHTTP(w, q)
	})
}

func (r *recorder) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.requests, "\n")
}
