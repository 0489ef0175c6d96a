package proxy

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	dialTimeout = 5 * time.Second
	// A node that is gone is noticed after 15 + 4×5 = 35 s. Nothing else bounds
	// how long a sandbox may take to answer.
	keepAliveIdle, keepAliveInterval, keepAliveCount = 15 * time.Second, 5 * time.Second, 4
	// continueTimeout is how long a sandbox has to accept or refuse a body that
	// the client only announced.
	continueTimeout = time.Second
	// idlePerSandbox is above the requests that one sandbox's clients make at the same
	// time. What is above it costs a new connection for each request, which is how a
	// moment of many becomes one that does not end.
	idlePerSandbox = 500
	// maxIdle bounds those of all sandboxes: some 20 KiB each.
	maxIdle = 20 * idlePerSandbox
	// maxHeader bounds what an untrusted sandbox can make the router hold.
	maxHeader = 256 << 10
)

func newTransport(idle time.Duration, dial func(context.Context, string, string) (net.Conn, error)) *http.Transport {
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout, KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: keepAliveIdle, Interval: keepAliveInterval, Count: keepAliveCount,
		}}).DialContext
	}
	return &http.Transport{
		Proxy:                  nil, // never by an environment's proxy
		DialContext:            dial,
		DisableCompression:     true, // bodies pass as they are
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    idlePerSandbox,
		IdleConnTimeout:        idle,
		ExpectContinueTimeout:  continueTimeout,
		MaxResponseHeaderBytes: maxHeader,
	}
}

// buffers are what bodies are copied through.
type buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return p[:]
	}
	return new([bufferSize]byte)[:]
}

func (b *buffers) Put(p []byte) { b.pool.Put((*[bufferSize]byte)(p)) }
