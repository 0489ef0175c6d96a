// Package natsx connects to NATS and makes the streams and buckets, the same
// way in every service.
package natsx

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Config says how a service reaches NATS. Every service has a user of its own.
type Config struct {
	URL      string `env:"NATS_URL" envDefault:"nats://127.0.0.1:4222"`
	User     string `env:"NATS_USER"`
	Password string `env:"NATS_PASSWORD"`
	CAFile   string `env:"NATS_CA_FILE"`
	Replicas int    `env:"NATS_REPLICAS" envDefault:"1"`
}

// Validate lists what is wrong.
func (c Config) Validate() error {
	var errs []error
	if c.URL == "" {
		errs = append(errs, errors.New("NATS_URL is empty"))
	}
	if c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5 {
		errs = append(errs, fmt.Errorf("NATS_REPLICAS is %d, must be 1, 3 or 5", c.Replicas))
	}
	return errors.Join(errs...)
}

// A dead connection is noticed within pingEvery × (maxPings+1) = 9 s; the
// client's default is 2 min × 3.
const (
	pingEvery     = 3 * time.Second
	maxPings      = 2
	reconnectWait = 250 * time.Millisecond
	dialTimeout   = 2 * time.Second
)

// Conn is a connection with its JetStream context.
type Conn struct {
	*nats.Conn
	JS       jetstream.JetStream
	Replicas int

	denied atomic.Pointer[string]
	// here and lives are what Connected and Lives say.
	here   atomic.Int32
	lives  atomic.Uint64
	errors *prometheus.CounterVec
	// closed tells stay to end, and left is closed when it has.
	closed, left chan struct{}
	end          func()
}

// Connect connects, now or later: with the server away it returns a connection
// that keeps trying for ever. service names the connection and, where no user
// is configured, the user.
func Connect(service string, c Config, log *zap.Logger) (*Conn, error) {
	if c.User == "" {
		c.User = service
	}
	conn := &Conn{Replicas: c.Replicas, errors: newErrors(), closed: make(chan struct{}), left: make(chan struct{})}
	conn.end = sync.OnceFunc(func() { close(conn.closed) })
	opts := []nats.Option{
		nats.Name("sandbar-" + service),
		nats.UserInfo(c.User, c.Password),
		nats.CustomInboxPrefix("_INBOX_" + c.User),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectWait, reconnectWait),
		nats.Timeout(dialTimeout),
		nats.PingInterval(pingEvery),
		nats.MaxPingsOutstanding(maxPings),
		// Nothing is buffered while the server is away: a command that was not
		// sent must be told so, not sent later.
		nats.ReconnectBufSize(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.ConnectHandler(func(*nats.Conn) { conn.here.Store(connected) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			conn.here.Store(away)
			log.Warn("disconnected from NATS", zap.Error(err))
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			conn.denied.Store(nil)
			conn.lives.Add(1)
			conn.here.Store(connected)
			log.Info("connected to NATS again", zap.String("server", nc.ConnectedServerName()))
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			kind := kindOf(err)
			conn.errors.WithLabelValues(kind).Inc()
			if kind == errorDenied {
				text := err.Error()
				conn.denied.Store(&text)
			}
			log.Warn("NATS reports an error", zap.Error(err))
		}),
	}
	if c.CAFile != "" {
		opts = append(opts, nats.RootCAs(c.CAFile))
	}
	nc, err := nats.Connect(c.URL, opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	conn.Conn = nc
	if nc.IsConnected() { // its handlers may say so later, or may have said more by now
		conn.here.CompareAndSwap(unknown, connected)
	}
	if conn.JS, err = jetstream.New(nc, jetstream.WithDefaultTimeout(requestTimeout)); err != nil {
		nc.Close()
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	go conn.stay(log)
	return conn, nil
}

// requestTimeout bounds one JetStream request whose context has no deadline.
const requestTimeout = 2 * time.Second

// What is known of a connection.
const (
	unknown int32 = iota // there was none yet
	connected
	away
)

// Connected is IsConnected for who may not wait: that, as Stats, waits for the client
// library while it dials, which is up to dialTimeout where a server takes connections
// and says nothing. It may be some milliseconds behind.
func (c *Conn) Connected() bool { return c.here.Load() == connected }

// Lives counts how many connections there were before this one. It does not wait either.
func (c *Conn) Lives() uint64 { return c.lives.Load() }

// Denied is the last permission error since the connection was made, or "". The
// client library tells of one by its error handler only; a service that has one
// is not ready.
func (c *Conn) Denied() string {
	if s := c.denied.Load(); s != nil {
		return *s
	}
	return ""
}

// Healthy says why the connection cannot be used now, or nil.
func (c *Conn) Healthy() error {
	if d := c.Denied(); d != "" {
		return fmt.Errorf("NATS denies what this service needs: %s", d)
	}
	if !c.IsConnected() {
		return fmt.Errorf("NATS is %s", c.Status())
	}
	return nil
}
