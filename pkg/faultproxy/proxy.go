// Package faultproxy stands between two that have a connection, and does to it
// what networks do.
package faultproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Mode is what the proxy does to its connections.
type Mode int

// The modes.
const (
	Pass     Mode = iota
	Cut           // all connections are closed, and new ones at once
	Slow          // each piece is late by lag, in both directions
	HalfOpen      // nothing arrives and nothing is closed
	Deaf          // the same, only from the server
)

// lag is below what any part waits for an answer, and far above what is normal.
const lag = 150 * time.Millisecond

// Proxy passes connections on.
type Proxy struct {
	listener net.Listener
	target   string
	all      sync.WaitGroup

	mu    sync.Mutex
	mode  Mode
	conns map[net.Conn]struct{}
	done  bool
}

// Listen begins to pass what comes to a port of the loopback on to target.
func Listen(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("fault proxy: %w", err)
	}
	p := &Proxy{listener: l, target: target, conns: map[net.Conn]struct{}{}}
	p.all.Go(p.accept)
	return p, nil
}

// Address is where it listens.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Set changes the mode. Connections that lost something are closed at the end of
// it: what would follow has no meaning.
func (p *Proxy) Set(m Mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m == Cut || p.mode == HalfOpen || p.mode == Deaf {
		p.closeAll()
	}
	p.mode = m
}

// Close ends all.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.done = true
	p.closeAll()
	p.mu.Unlock()
	err := p.listener.Close()
	p.all.Wait()
	return err
}

func (p *Proxy) closeAll() {
	for c := range p.conns {
		_ = c.Close() // its two pumps see it
	}
}

func (p *Proxy) now() Mode {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mode
}

// keep reports whether a connection may live.
func (p *Proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done || p.mode == Cut {
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) drop(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	_ = c.Close()
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		p.all.Go(func() { p.serve(c) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	defer p.drop(client)
	if !p.keep(client) {
		return
	}
	var dialer net.Dialer
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	server, err := dialer.DialContext(ctx, "tcp", p.target)
	cancel()
	if err != nil {
		return
	}
	defer p.drop(server)
	if !p.keep(server) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.pump(server, client, false); _ = server.Close() })
	both.Go(func() { p.pump(client, server, true); _ = client.Close() })
	both.Wait()
}

// pump copies until one side ends. What comes while nothing passes is lost.
func (p *Proxy) pump(to io.Writer, from io.Reader, answers bool) {
	piece := make([]byte, 32<<10)
	for {
		n, err := from.Read(piece)
		switch m := p.now(); {
		case m == HalfOpen, m == Deaf && answers:
			n = 0
		case m == Slow:
			<-time.After(lag)
		}
		if n > 0 {
			if _, err := to.Write(piece[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
