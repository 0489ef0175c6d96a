package reach

import (
	"context"
	"errors"
	"io"
	"net"
	"os"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// handshakeError is why there is no TLS on a connection that stands.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return "handshake: " + e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

// classify says what an error of a request means.
func classify(err error) sandbox.Reach {
	var (
		dns       *net.DNSError
		handshake *handshakeError
		op        *net.OpError
	)
	switch {
	case errors.As(err, &dns):
		return sandbox.ReachDNS
	case timeout(err):
		return sandbox.ReachTimeout
	case errors.As(err, &handshake):
		return sandbox.ReachTLS
	case errors.As(err, &op), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return sandbox.ReachConnection
	}
	return sandbox.ReachResponse // what net/http cannot read
}

func timeout(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}
