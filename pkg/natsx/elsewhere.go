package natsx

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
)

const (
	askEvery   = 2 * time.Second
	askTimeout = time.Second
	// leaveAfter is longer than a stream of several servers may be without a leader:
	// an election takes up to 9 s, and all servers are as silent as this one.
	leaveAfter = 10 * time.Second
)

// stay looks whether JetStream answers, where there are several servers. One that
// is cut off from the others keeps its connections, and stores nothing: it is left
// for another.
func (c *Conn) stay(log *zap.Logger) {
	defer close(c.left)
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	answered := time.Now()
	for {
		select {
		case <-c.closed:
			return
		case <-tick.C:
		}
		switch {
		case !c.IsConnected() || len(c.Servers()) < 2 || c.answers():
			answered = time.Now()
		case time.Since(answered) > leaveAfter:
			log.Warn("this NATS server stores nothing, another is looked for", zap.String("server", c.ConnectedServerName()))
			answered = time.Now()
			_ = c.ForceReconnect() // fails where it is closed
		}
	}
}

// answers reports whether a stream that all services may ask for has a leader, as
// far as this server knows.
func (c *Conn) answers() bool {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	_, err := Stream(ctx, c.JS, contract.ViewStream)
	return err == nil || errors.Is(err, jetstream.ErrStreamNotFound)
}

// Close closes the connection.
func (c *Conn) Close() {
	c.Conn.Close()
	c.end()
	<-c.left
}
