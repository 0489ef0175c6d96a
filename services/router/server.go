package router

import (
	"crypto/tls"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/obs"
)

// Limits of clients' connections. There is none on a whole request or answer.
const (
	// readHeaderTimeout also bounds a TLS handshake.
	readHeaderTimeout = 10 * time.Second
	// idleTimeout is above that of the load balancers in front (600 s is the
	// longest known): the one that reuses a connection must be first to drop it.
	idleTimeout    = 620 * time.Second
	maxHeaderBytes = 64 << 10
)

// Limits of HTTP/2. A browser sends all that is for sandboxes under one wildcard
// certificate over one connection.
const (
	// maxStreams is above the requests, event streams too, that one browser has
	// open to all of its sandboxes.
	maxStreams = 250
	// streamWindow is what a sandbox may have yet to read of one upload. An upload
	// gets as much in one round trip: 10 MiB/s where that takes 100 ms.
	streamWindow = 1 << 20
	// connectionWindow is more, so that one upload that its sandbox does not read
	// does not stop the others; and not much more, for a client can make the
	// router hold all of it, on as many connections as it opens.
	connectionWindow = 2 << 20
	// maxFrame is what is read at once, and held for as long as the connection is.
	maxFrame = 64 << 10
)

// newServer makes the server of the data path; secure nil: it speaks plain HTTP/1.
// With TLS a client chooses HTTP/2 or HTTP/1.1. WebSockets over HTTP/2 (RFC 8441)
// are not announced, so browsers open theirs by HTTP/1.1.
func newServer(h http.Handler, secure *tls.Config, log *zap.Logger) *http.Server {
	return &http.Server{
		Handler: h, TLSConfig: secure, ErrorLog: obs.ServerLog(log),
		ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		DisableGeneralOptionsHandler: true, // OPTIONS * is the sandbox's to answer
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams, MaxReceiveBufferPerStream: streamWindow,
			MaxReceiveBufferPerConnection: connectionWindow, MaxReadFrameSize: maxFrame,
		},
	}
}
