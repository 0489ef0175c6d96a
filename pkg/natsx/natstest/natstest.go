// Package natstest runs NATS servers inside a test. No service links it.
package natstest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// startLimit is how long a server may take to start; the machine may be busy.
const startLimit = 30 * time.Second

// Server is a server with JetStream on disk. Its end is the test's.
type Server struct {
	*server.Server // the one that runs, or ran last

	t    testing.TB
	opts server.Options
}

// Start starts one. What o does not say is as a test wants it: any port of the
// loopback, a store of its own.
func Start(t testing.TB, o server.Options) *Server {
	t.Helper()
	if o.StoreDir == "" {
		o.StoreDir = t.TempDir()
	}
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	o.Host, o.JetStream, o.NoLog, o.NoSigs = "127.0.0.1", true, true, true
	s := &Server{t: t, opts: o}
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// Start starts it again after a Stop, with its store and at its address.
func (s *Server) Start() {
	s.t.Helper()
	opts := s.opts // the server changes them
	srv, err := server.NewServer(&opts)
	if err != nil {
		s.t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(startLimit) {
		s.t.Fatal("the NATS server does not start")
	}
	address, ok := srv.Addr().(*net.TCPAddr)
	if !ok {
		s.t.Fatalf("it listens at %v", srv.Addr())
	}
	s.Server, s.opts.Port = srv, address.Port
}

// Stop stops it; it may be stopped already.
func (s *Server) Stop() {
	s.Shutdown()
	s.WaitForShutdown()
}

// Wipe removes all it holds, as if its disk was lost.
func (s *Server) Wipe() {
	s.t.Helper()
	s.Stop()
	if err := os.RemoveAll(s.opts.StoreDir); err != nil {
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
	if err := os.CopyFS(older, os.DirFS(s.opts.StoreDir)); err != nil {
		s.t.Fatal(err)
	}
	s.Start()
	return older
}

// Back is described at Keep.
func (s *Server) Back(older string) {
	s.t.Helper()
	s.Stop()
	s.opts.StoreDir = older
	s.Start()
}

// Again makes a stream that was deleted a moment ago: NATS may still write what it has
// deleted, and then does not make a new one in the same place.
func Again(ctx context.Context, make func(context.Context) error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(startLimit); ; <-tick.C {
		if err := make(ctx); err == nil || ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
	}
}

// Three are servers that replicate what they are asked to, and the URL of all.
func Three(t testing.TB) (all [3]*Server, url string) {
	t.Helper()
	var addresses, routes, urls []string
	var held []net.Listener // until all are known, so that they differ
	for range all {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, l)
		addresses, routes = append(addresses, l.Addr().String()), append(routes, "nats://"+l.Addr().String())
	}
	for _, l := range held {
		_ = l.Close() // nobody has connected
	}
	for i, address := range addresses {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		o := server.Options{ServerName: fmt.Sprint("nats-", i), Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1"}}
		if o.Cluster.Port, err = strconv.Atoi(port); err != nil {
			t.Fatal(err)
		}
		o.Routes = server.RoutesFromStr(strings.Join(routes, ","))
		all[i] = Start(t, o)
		urls = append(urls, all[i].ClientURL())
	}
	return all, strings.Join(urls, ",")
}
