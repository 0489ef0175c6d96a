// Package testbed is what several tests of the watcher need. No service links it.
package testbed

import (
	"context"
	"encoding/base64"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/natsx/natstest"
)

// Server is an embedded NATS server that can be restarted and wiped.
type Server struct {
	*natstest.Server
	t testing.TB
}

// NewServer starts one; it ends with the test.
func NewServer(t testing.TB) *Server {
	t.Helper()
	return &Server{natstest.Start(t, server.Options{}), t}
}

// URL is where it listens.
func (s *Server) URL() string { return s.ClientURL() }

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
