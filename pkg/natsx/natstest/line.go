package natstest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Line is a way to a server that can be cut.
type Line struct {
	t  testing.TB
	to string

	mu      sync.Mutex
	address string
	in      net.Listener // nil: it is cut
	open    []net.Conn
	copies  sync.WaitGroup
}

// Line makes one. Its end is the test's.
func (s *Server) Line() *Line {
	s.t.Helper()
	l := &Line{t: s.t, to: s.Addr().String(), address: "127.0.0.1:0"}
	l.Mend()
	s.t.Cleanup(l.Cut)
	return l
}

// URL is what a client connects to.
func (l *Line) URL() string { return "nats://" + l.address }

// Cut closes all connections and takes no more; it may be cut already.
func (l *Line) Cut() {
	l.mu.Lock()
	if l.in != nil {
		_ = l.in.Close()
	}
	for _, c := range l.open {
		_ = c.Close()
	}
	l.in, l.open = nil, nil
	l.mu.Unlock()
	l.copies.Wait()
}

// Mend takes connections at the same address.
func (l *Line) Mend() {
	l.t.Helper()
	in, err := net.Listen("tcp", l.address)
	if err != nil {
		l.t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.in, l.address = in, in.Addr().String()
	l.copies.Go(func() {
		for {
			c, err := in.Accept()
			if err != nil {
				return // it was cut
			}
			l.lead(in, c)
		}
	})
}

func (l *Line) lead(in net.Listener, c net.Conn) {
	server, err := net.Dial("tcp", l.to)
	if err != nil {
		_ = c.Close()
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.in != in {
		_, _ = c.Close(), server.Close()
		return
	}
	l.open = append(l.open, c, server)
	for from, to := range map[net.Conn]net.Conn{c: server, server: c} {
		l.copies.Go(func() {
			_, _ = io.Copy(to, from)
			_, _ = from.Close(), to.Close()
		})
	}
}
