package gateway_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// line is a connection to NATS to which happens what happens on networks.
type line struct {
	net.Listener
	all  sync.WaitGroup
	mode atomic.Int32

	mu    sync.Mutex
	conns []net.Conn
}

// What is done to a line.
const (
	whole  int32 = iota
	cut          // it is closed, and not opened again
	silent       // nothing arrives any more, and nobody is told
	deaf         // nothing arrives of what NATS says
)

func newLine(t *testing.T, to string) *line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{Listener: listener}
	ctx, cancel := context.WithCancel(context.Background())
	l.all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil || l.mode.Load() == cut {
				_ = in.Close()
				continue
			}
			l.mu.Lock()
			l.conns = append(l.conns, in, out)
			l.mu.Unlock()
			l.all.Go(func() { l.carry(ctx, in, out, silent) })
			l.all.Go(func() { l.carry(ctx, out, in, deaf) })
		}
	})
	t.Cleanup(func() { cancel(); _ = l.Close(); l.all.Wait() })
	return l
}

// set does something to the line. A connection that lost something is closed when
// the line is whole again: what would follow has no meaning.
func (l *line) set(mode int32) {
	l.mode.Store(mode)
	if mode == cut || mode == whole {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, c := range l.conns {
			_ = c.Close()
		}
		l.conns = nil
	}
}

// carry copies; what comes while the line is silent, or as said, is lost.
func (l *line) carry(ctx context.Context, from, to net.Conn, or int32) {
	end := context.AfterFunc(ctx, func() { _ = from.Close(); _ = to.Close() })
	defer end()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			_ = to.Close()
			return
		}
		if mode := l.mode.Load(); mode == silent || mode == or {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}
