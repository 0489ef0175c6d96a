package certificate_test

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sandbar-io/sandbar/pkg/certificate"
	"github.com/sandbar-io/sandbar/pkg/certificate/certtest"
	"github.com/sandbar-io/sandbar/pkg/settings"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWithoutTLS(t *testing.T) {
	t.Parallel()
	s, err := certificate.Open(settings.TLS{}, zap.NewNop())
	if err != nil || s.Config() != nil {
		t.Errorf("%v %v", s.Config(), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Watch(ctx); err == nil {
		t.Error("the watch of nothing ends before its context")
	}
}

// source opens a certificate and watches it; its log comes line by line.
func source(t *testing.T, files settings.TLS) (*certificate.Source, <-chan string) {
	t.Helper()
	lines := make(chan string, 64)
	core, _ := observer.New(zapcore.InfoLevel)
	log := zap.New(zapcore.RegisterHooks(core, func(e zapcore.Entry) error { lines <- e.Message; return nil }))
	s, err := certificate.Open(files, log)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, lines, "taken")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Watch(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return s, lines
}

func expect(t *testing.T, lines <-chan string, want string) {
	t.Helper()
	select {
	case got := <-lines:
		if !strings.Contains(got, want) {
			t.Fatalf("logged %q, want %q", got, want)
		}
	case <-time.After(5 * time.Second):
		t.Fatalf("not logged: %q", want)
	}
}

// handshake is what a client finds that trusts the authority.
func handshake(t *testing.T, s *certificate.Source, a *certtest.Authority, name string, change func(*tls.Config)) (tls.ConnectionState, error) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", s.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if conn, err := l.Accept(); err == nil {
			_ = conn.(*tls.Conn).HandshakeContext(t.Context())
			_ = conn.Close()
		}
	}()
	cfg := &tls.Config{RootCAs: a.Pool(), ServerName: name}
	if change != nil {
		change(cfg)
	}
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	client := tls.Client(conn, cfg)
	err = client.HandshakeContext(t.Context())
	<-done
	return client.ConnectionState(), err
}

func serves(t *testing.T, s *certificate.Source, a *certtest.Authority, name string) {
	t.Helper()
	if _, err := handshake(t, s, a, name, nil); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

func TestOldProtocolsAreRefused(t *testing.T) {
	t.Parallel()
	a := certtest.New(t)
	s, _ := source(t, a.Write(t.TempDir(), "a.test"))
	for version, ok := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		state, err := handshake(t, s, a, "a.test", func(c *tls.Config) { c.MinVersion, c.MaxVersion = version, version })
		if (err == nil) != ok || ok && state.Version != version {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	a, dir := certtest.New(t), t.TempDir()
	files := a.Write(dir, "one.test")
	s, lines := source(t, files)
	serves(t, s, a, "one.test")
	for _, broken := range []string{"nonsense", "-----BEGIN PRIVATE KEY-----\nMAo=\n-----END PRIVATE KEY-----\n"} {
		if err := os.WriteFile(files.KeyFile, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		expect(t, lines, "cannot be used")
		serves(t, s, a, "one.test")
	}
	if err := os.Remove(files.KeyFile); err != nil {
		t.Fatal(err)
	}
	expect(t, lines, "cannot be used")
	serves(t, s, a, "one.test")
	// The pair comes as two writes, between which it may not fit.
	a.Write(dir, "two.test")
	for {
		line := <-lines
		if strings.Contains(line, "taken") {
			break
		}
		if !strings.Contains(line, "cannot be used") {
			t.Fatal(line)
		}
	}
	serves(t, s, a, "two.test")
	if _, err := handshake(t, s, a, "one.test", nil); err == nil {
		t.Error("the certificate before is still served")
	}
	a.WriteUntil(dir, time.Now().Add(-time.Hour), "two.test")
	for line := range lines {
		if strings.Contains(line, "expired") {
			break
		}
	}
}

// The kubelet mounts a Secret as links by way of ..data, and swaps that.
func TestReloadOfAMountedSecret(t *testing.T) {
	t.Parallel()
	a, dir := certtest.New(t), t.TempDir()
	version := func(name, host string) {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		a.Write(filepath.Join(dir, name), host)
		if err := os.Symlink(name, filepath.Join(dir, "..tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	version("..1", "one.test")
	files := settings.TLS{CertFile: filepath.Join(dir, certtest.CertName), KeyFile: filepath.Join(dir, certtest.KeyName)}
	for _, path := range []string{files.CertFile, files.KeyFile} {
		if err := os.Symlink(filepath.Join("..data", filepath.Base(path)), path); err != nil {
			t.Fatal(err)
		}
	}
	s, lines := source(t, files)
	serves(t, s, a, "one.test")
	version("..2", "two.test")
	expect(t, lines, "taken")
	serves(t, s, a, "two.test")
}
