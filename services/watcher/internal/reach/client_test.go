package reach_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/watcher/internal/reach"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const domain = "sandbar.example"

var pattern = sandbox.URLPattern{Scheme: "http", BaseDomain: domain, Separator: "."}

func newClient(t *testing.T, change ...func(*reach.Config)) *reach.Client {
	t.Helper()
	cfg := reach.Config{URLs: pattern}
	for _, f := range change {
		f(&cfg)
	}
	c, err := reach.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func at(address string) func(*reach.Config) { return func(c *reach.Config) { c.Address = address } }

func trusting(file string) func(*reach.Config) { return func(c *reach.Config) { c.CAFile = file } }

// raw is a server that does as it is told with each connection.
func raw(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serve(c)
			_ = c.Close() // may be closed already
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// says answers a request with these bytes.
func says(answer string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096)) // the request
		_, _ = io.WriteString(c, answer)  // the client may be gone
	}
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// serveTLS has httptest's certificate, which is for *.example.com, and returns
// the file that makes it trusted.
func serveTLS(t *testing.T, config *tls.Config) (address, caFile string) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.TLS = config
	s.Config.ErrorLog = nil
	s.StartTLS()
	t.Cleanup(s.Close)
	caFile = filepath.Join(t.TempDir(), "ca.crt")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(caFile, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return s.Listener.Addr().String(), caFile
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// nobody is an address where nobody listens.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // that is the point
	return l.Addr().String()
}

func TestEveryCode(t *testing.T) {
	t.Parallel()
	secure, ca := serveTLS(t, nil)
	hangs := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) } // until the client has gone
	endless := func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		for {
			if _, err := c.Write(make([]byte, 4096)); err != nil {
				return // the client has read enough
			}
		}
	}
	const plain, tlsURL = "http://s." + domain, "https://s." + domain
	for name, c := range map[string]struct {
		url     string
		address string
		ca      string
		want    sandbox.Reach
	}{
		"it answers":                         {plain, serve(t, status(204)), "", sandbox.Reached},
		"more than is read":                  {plain, raw(t, endless), "", sandbox.Reached},
		"one that comes later":               {plain, raw(t, says("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")), "", sandbox.Reached},
		"not found":                          {plain, serve(t, status(404)), "", "http_status:404"},
		"unavailable":                        {plain, serve(t, status(503)), "", "http_status:503"},
		"a redirect":                         {plain, serve(t, status(302)), "", sandbox.ReachUnexpected},
		"another protocol":                   {plain, raw(t, says("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")), "", sandbox.ReachUnexpected},
		"no HTTP":                            {plain, raw(t, says("SSH-2.0-OpenSSH_9.9\r\n\r\n")), "", sandbox.ReachResponse},
		"a header without end":               {plain, raw(t, says("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 128<<10))), "", sandbox.ReachResponse},
		"a body that breaks off":             {plain, raw(t, says("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")), "", sandbox.ReachResponse},
		"nobody listens":                     {plain, nobody(t), "", sandbox.ReachConnection},
		"closed at once":                     {plain, raw(t, func(net.Conn) {}), "", sandbox.ReachConnection},
		"no answer":                          {plain, raw(t, hangs), "", sandbox.ReachTimeout},
		"half an answer":                     {plain, raw(t, func(c net.Conn) { says("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")(c); hangs(c) }), "", sandbox.ReachTimeout},
		"TLS, the certificate of another":    {tlsURL, secure, ca, sandbox.ReachTLS},
		"TLS, a certificate not trusted":     {tlsURL, secure, "", sandbox.ReachTLS},
		"TLS, and it is plain HTTP":          {tlsURL, serve(t, status(200)), "", sandbox.ReachTLS},
		"TLS, closed at once":                {tlsURL, raw(t, func(net.Conn) {}), "", sandbox.ReachTLS},
		"TLS, no handshake":                  {tlsURL, raw(t, hangs), "", sandbox.ReachTimeout},
		"TLS, nobody listens":                {tlsURL, nobody(t), "", sandbox.ReachConnection},
		"not under the base domain":          {"http://169.254.169.254", "", "", sandbox.ReachRequest},
		"the base domain at another's front": {"http://s." + domain + ".evil.example", "", "", sandbox.ReachRequest},
		"with a user":                        {"http://u:p@s." + domain, "", "", sandbox.ReachRequest},
		"with a path":                        {"http://s." + domain + "/x?", "", "", sandbox.ReachRequest},
		"another scheme":                     {"gopher://s." + domain, "", "", sandbox.ReachRequest},
		"no URL":                             {"http://s.%zz" + domain, "", "", sandbox.ReachRequest},
		"nothing":                            {"", "", "", sandbox.ReachRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), limitOf(c.want))
			defer cancel()
			got, err := newClient(t, at(c.address), trusting(c.ca)).Look(ctx, c.url)
			if got != c.want || (err == nil) != (c.want == sandbox.Reached) {
				t.Errorf("%s (%v), want %s", got, err, c.want)
			}
		})
	}
}

// limitOf is short where the time has to run out.
func limitOf(want sandbox.Reach) time.Duration {
	if want == sandbox.ReachTimeout {
		return 200 * time.Millisecond
	}
	return 20 * time.Second
}

func TestTLSWithAGivenCA(t *testing.T) {
	t.Parallel()
	secure, ca := serveTLS(t, nil)
	c := newClient(t, at(secure), trusting(ca), func(c *reach.Config) { c.URLs.BaseDomain = "example.com" })
	if got, err := c.Look(t.Context(), "https://s.example.com"); got != sandbox.Reached {
		t.Errorf("%s (%v), want it reached", got, err)
	}
	old, ca := serveTLS(t, &tls.Config{MaxVersion: tls.VersionTLS11})
	c = newClient(t, at(old), trusting(ca), func(c *reach.Config) { c.URLs.BaseDomain = "example.com" })
	if got, err := c.Look(t.Context(), "https://s.example.com"); got != sandbox.ReachTLS {
		t.Errorf("TLS 1.1: %s (%v), want a TLS error", got, err)
	}
}

func TestNamesThatAreNotResolved(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer func(query []byte) []byte
		want   sandbox.Reach
	}{
		"no such name": {func(q []byte) []byte { q[2] |= 0x80; q[3] = q[3]&0xf0 | 3; return q }, sandbox.ReachDNS},
		"no answer":    {func([]byte) []byte { return nil }, sandbox.ReachDNS},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := dnsServer(t, c.answer)
			client := newClient(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			client.Resolve(&net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, "udp", server)
				if err == nil { // the resolver waits on when nobody waits for it
					context.AfterFunc(ctx, func() { _ = conn.Close() })
				}
				return conn, err
			}})
			if got, err := client.Look(ctx, "http://s."+domain); got != c.want {
				t.Errorf("%s (%v), want %s", got, err, c.want)
			}
		})
	}
}

func dnsServer(t *testing.T, answer func([]byte) []byte) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		packet := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(packet)
			if err != nil {
				return
			}
			if a := answer(packet[:n]); a != nil {
				_, _ = conn.WriteTo(a, from) // the client asks again
			}
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return conn.LocalAddr().String()
}

// The sandbox's own host is what is asked for, wherever that is dialled, and no
// redirect is followed to another place.
func TestWhatIsAsked(t *testing.T) {
	t.Parallel()
	var got []string
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+r.Host+r.URL.Path)
		if len(r.Header["X-Api-Key"])+len(r.Header["X-Session-Api-Key"])+len(r.Header["Cookie"]) > 0 {
			t.Errorf("it carries a key: %v", r.Header)
		}
		http.Redirect(w, r, "http://"+r.Host+"/elsewhere", http.StatusFound)
	})
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ address, url string }{
		{address, "http://s." + domain + ":1"},
		{"127.0.0.1", fmt.Sprintf("http://s.%s:%s", domain, port)}, // a host alone keeps the URL's port
	} {
		got = nil
		if _, err := newClient(t, at(c.address)).Look(t.Context(), c.url); err == nil {
			t.Errorf("%s: a redirect is no answer", c.url)
		}
		if want := "GET " + strings.TrimPrefix(c.url, "http://") + "/alive"; len(got) != 1 || got[0] != want {
			t.Errorf("asked %q, want only %q", got, want)
		}
	}
}

func TestConfigProblems(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.crt")
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cfg     reach.Config
		problem string
	}{
		"nothing":                 {reach.Config{}, ""},
		"host and port":           {reach.Config{Address: "traefik.ingress:443"}, ""},
		"a host":                  {reach.Config{Address: "traefik.ingress"}, ""},
		"IPv6":                    {reach.Config{Address: "[::1]:443"}, ""},
		"a port alone":            {reach.Config{Address: ":443"}, "ROUTE_CHECK_ADDRESS"},
		"a URL":                   {reach.Config{Address: "https://traefik"}, "ROUTE_CHECK_ADDRESS"},
		"a path":                  {reach.Config{Address: "traefik/x"}, "ROUTE_CHECK_ADDRESS"},
		"no such file":            {reach.Config{CAFile: empty + ".not"}, "ROUTE_CHECK_CA_FILE"},
		"a file without a CA":     {reach.Config{CAFile: empty}, "ROUTE_CHECK_CA_FILE"},
		"both":                    {reach.Config{CAFile: empty, Address: "a b"}, "ROUTE_CHECK_ADDRESS"},
		"both, the other of them": {reach.Config{CAFile: empty, Address: "a b"}, "ROUTE_CHECK_CA_FILE"},
	} {
		if err := c.cfg.Validate(); (err == nil) != (c.problem == "") || err != nil && !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%s: %v, want %q", name, err, c.problem)
		}
	}
}
