// Package gateway takes OpenHands clients' requests over HTTP, publishes each
// change as one command on the bus, waits for its reply, and answers reads from
// memory. It knows no Kubernetes.
package gateway

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/certificate"
	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/obs"
	"github.com/sandbar-io/sandbar/pkg/run"
	"github.com/sandbar-io/sandbar/pkg/views"
	"github.com/sandbar-io/sandbar/services/gateway/internal/admission"
	"github.com/sandbar-io/sandbar/services/gateway/internal/claims"
	"github.com/sandbar-io/sandbar/services/gateway/internal/command"
	"github.com/sandbar-io/sandbar/services/gateway/internal/httpapi"
	"github.com/sandbar-io/sandbar/services/gateway/internal/keys"
	"github.com/sandbar-io/sandbar/services/gateway/internal/registry"
	"github.com/sandbar-io/sandbar/services/gateway/internal/warm"
)

// Timeouts of a connection. A request is read within readTimeout; then its
// command takes at most 8 s and grace, an image 5 s; the rest of writeTimeout,
// which counts from the header on, is for the answer.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	// maxHeader holds the request line too: a batch of 1,000 ids of 60
	// characters.
	maxHeader = 128 << 10
)

// Gateway is one that listens and does not serve yet.
type Gateway struct {
	log      *zap.Logger
	conn     *natsx.Conn
	listener net.Listener
	server   *http.Server
	gate     *admission.Gate
	sender   *command.Sender
	follower *views.Follower
	claims   *claims.Writer
	ring     *keys.Ring
	pair     *certificate.Source
	images   *registry.Client
	warm     *warm.Set
	presence command.Presence
	draining atomic.Bool
}

// Run serves until ctx ends.
func Run(ctx context.Context, cfg Config, log *zap.Logger) error {
	g, err := New(cfg, log)
	if err != nil {
		return err
	}
	return g.Run(ctx)
}

// New wires a gateway and binds its listener. NATS may be away.
func New(cfg Config, log *zap.Logger) (_ *Gateway, err error) {
	g := &Gateway{log: log}
	defer func() {
		if err != nil {
			g.close()
		}
	}()
	limits, err := keys.ParseLimits(cfg.APIKeyLimits)
	if err != nil {
		return nil, fmt.Errorf("API_KEY_LIMITS: %w", err)
	}
	if g.ring, err = keys.New(cfg.APIKey, limits, cfg.APIKeysFile, log); err != nil {
		return nil, err
	}
	if g.warm, err = warm.New(cfg.WarmConfigsFile, log); err != nil {
		return nil, err
	}
	sealer, err := contract.NewSealer(cfg.SealingKey)
	if err != nil {
		return nil, err
	}
	if g.listener, err = net.Listen("tcp", cfg.address()); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if g.conn, err = natsx.Connect("gateway", cfg.NATS, log); err != nil {
		return nil, err
	}
	if _, err = g.conn.Announce("gateway"); err != nil {
		return nil, err
	}
	g.follower = views.NewFollower(g.conn.JS, sealer.Open, log)
	g.gate = admission.New(admission.Limits{PerTenant: cfg.PerTenant, Total: cfg.InFlight, Waiting: cfg.Waiting, Paced: cfg.Paced})
	g.sender, err = command.New(g.conn, g.follower, sealer, g.presence.Present, g.gate, log, command.DefaultTiming)
	if err != nil {
		return nil, err
	}
	g.claims = claims.New(g.conn.JS, log)
	if g.images, err = cfg.images(log); err != nil {
		return nil, err
	}
	if g.pair, err = certificate.Open(cfg.TLS, log); err != nil {
		return nil, err
	}
	g.server = &http.Server{
		Handler: g.api(cfg), TLSConfig: g.pair.Config(), ErrorLog: obs.ServerLog(log),
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout,
		WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
	}
	return g, nil
}

func (g *Gateway) api(cfg Config) http.Handler {
	metrics := obs.NewRegistry()
	g.gate.Register(metrics)
	g.conn.Register(metrics)
	return httpapi.New(httpapi.Needs{
		Keys: g.ring, Views: g.follower, Commands: g.sender, Claims: g.claims, Images: g.images, Warm: g.warm,
		Checks: httpapi.Checks{
			NATS: g.conn.Healthy, Denied: func() bool { return g.conn.Denied() != "" },
			Provisioners: g.presence.Present, Draining: g.draining.Load,
		},
		Metrics: metrics, Log: g.log,
	}, httpapi.Options{
		RegistryPrefix: cfg.RegistryPrefix, DefaultImage: cfg.DefaultImage, ResumeActive: cfg.ResumeActive,
	})
}

// Addr is where it listens.
func (g *Gateway) Addr() net.Addr { return g.listener.Addr() }

// Run serves until ctx ends; then it drains and gives up everything.
func (g *Gateway) Run(ctx context.Context) error {
	defer g.close()
	group := run.NewGroup(ctx)
	// First, so that what the handlers need outlives the requests.
	group.Serve(g.server, g.listener, func() { g.draining.Store(true) })
	group.Add(g.follower.Run)
	group.Add(g.claims.Run)
	group.Add(g.ring.Watch)
	group.Add(g.pair.Watch)
	group.Add(g.warm.Watch)
	group.Add(g.images.Watch)
	group.Add(func(ctx context.Context) error { return g.presence.Watch(ctx, g.conn, g.log) })
	g.log.Info("listening", zap.Stringer("address", g.Addr()))
	return group.Run()
}

func (g *Gateway) close() {
	if g.listener != nil {
		_ = g.listener.Close() // the server may have closed it
	}
	if g.images != nil {
		g.images.Close()
	}
	if g.sender != nil {
		g.sender.Close()
	}
	if g.conn != nil {
		g.conn.Close()
	}
}
