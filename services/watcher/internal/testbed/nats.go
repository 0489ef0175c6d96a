// Package testbed is what several tests of the watcher need. No service links it.
package testbed

import (
	"context"
	"encoding/base64"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
)

// Server is an embedded NATS server that can be restarted and wiped.
type Server struct {
	t    testing.TB
	dir  string
	port int
	srv  *server.Server
}

// NewServer starts one; it ends with the test.
func NewServer(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, dir: t.TempDir(), port: server.RANDOM_PORT}
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// Start starts it, after a Stop on the port that it had.
func (s *Server) Start() {
	s.t.Helper()
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: s.port, JetStream: true, StoreDir: s.dir, NoLog: true, NoSigs: true,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		s.t.Fatal("the NATS server does not come up")
	}
	s.srv, s.port = srv, srv.Addr().(*net.TCPAddr).Port
}

// Stop stops it; it may be stopped already.
func (s *Server) Stop() {
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
}

// Wipe removes all it holds, as if its disk was lost.
func (s *Server) Wipe() {
	s.t.Helper()
	s.Stop()
	if err := os.RemoveAll(s.dir); err != nil {
		s.t.Fatal(err)
	}
	s.Start()
}

// Keep copies all it holds, and Back puts such a copy in place of it, as from a
// backup.
func (s *Server) Keep() (older string) {
	s.t.Helper()
	older = filepath.Join(s.t.TempDir(), "older")
	s.Stop()
	if err := os.CopyFS(older, os.DirFS(s.dir)); err != nil {
		s.t.Fatal(err)
	}
	s.Start()
	return older
}

// Back is described at Keep.
func (s *Server) Back(older string) {
	s.t.Helper()
	s.Stop()
	s.dir = older
	s.Start()
}

// URL is where it listens.
func (s *Server) URL() string { return s.srv.ClientURL() }

// Connect returns a connection that ends with the test.
func (s *Server) Connect() *natsx.Conn {
	s.t.Helper()
	c, err := natsx.Connect("test", natsx.Config{URL: s.URL(), Replicas: 1}, zap.NewNop())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

// Ready returns a connection with all streams made.
func (s *Server) Ready() *natsx.Conn {
	s.t.Helper()
	c := s.Connect()
	if err := c.EnsureViews(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	if _, err := c.EnsureCommands(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// SealingKey is a key for tests.
var SealingKey = base64.StdEncoding.EncodeToString(make([]byte, 32))

// Sealer seals with it.
func Sealer(t testing.TB) *contract.Sealer {
	t.Helper()
	s, err := contract.NewSealer(SealingKey)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Eventually waits until ok says yes, and fails the test when it does not within
// a generous time. what says what was waited for.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("never happened: %s", what)
		case <-tick.C:
		}
	}
}
