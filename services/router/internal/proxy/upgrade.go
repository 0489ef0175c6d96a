package proxy

import (
	"bufio"
	"net"
	"sync"

	"github.com/sandbar-io/sandbar/services/router/internal/activity"
)

// upgrades are the upgraded connections that are open: the HTTP server does not
// know them any more when it drains.
type upgrades struct {
	mu      sync.Mutex
	open    map[*upgraded]struct{}
	closing bool
}

func (u *upgrades) add(c *upgraded) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closing {
		_ = c.Conn.Close() // its first read or write says so
		return
	}
	if u.open == nil {
		u.open = map[*upgraded]struct{}{}
	}
	u.open[c] = struct{}{}
}

func (u *upgrades) remove(c *upgraded) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.open, c)
}

// close ends all, those that come later too.
func (u *upgrades) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closing = true
	for c := range u.open {
		_ = c.Conn.Close() // its copying goroutines end by it
	}
}

// upgraded is a client's connection after a 101.
type upgraded struct {
	net.Conn
	early    *bufio.Reader // what came before the 101 went out
	activity activity.Exchange
	of       *upgrades
}

func (c *upgraded) Read(p []byte) (n int, err error) {
	if buffered := c.early.Buffered(); buffered > 0 {
		n, err = c.early.Read(p[:min(len(p), buffered)])
	} else {
		n, err = c.Conn.Read(p)
	}
	if n > 0 {
		c.activity.Touch()
	}
	return n, err
}

func (c *upgraded) Write(p []byte) (int, error) {
	c.activity.Touch()
	return c.Conn.Write(p)
}

// CloseWrite passes the sandbox's end on, while the client may still send.
func (c *upgraded) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Conn.Close()
}

func (c *upgraded) Close() error {
	c.of.remove(c)
	return c.Conn.Close()
}
