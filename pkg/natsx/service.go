package natsx

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// Version is the version that services announce; set with -X.
var Version = "0.1.0"

// Announce makes the process a NATS micro service, so that `nats micro ls` and
// `stats` show the fleet and others can ask whether one is there. The service
// ends with the connection.
func (c *Conn) Announce(name string) (micro.Service, error) {
	s, err := micro.AddService(c.Conn, micro.Config{Name: name, Version: Version, Description: "Sandbar " + name})
	if err != nil {
		return nil, fmt.Errorf("announce %s: %w", name, err)
	}
	return s, nil
}

// Present reports whether at least one instance of a service answers a ping
// within the timeout.
func (c *Conn) Present(ctx context.Context, name string, timeout time.Duration) (bool, error) {
	subject, err := micro.ControlSubject(micro.PingVerb, name, "")
	if err != nil {
		return false, fmt.Errorf("ping %s: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err = c.RequestWithContext(ctx, subject, nil)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, context.DeadlineExceeded):
		return false, nil
	}
	return false, fmt.Errorf("ping %s: %w", name, err)
}
