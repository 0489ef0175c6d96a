// Package router is the data path: HTTP and WebSocket from clients straight to
// the pods of sandboxes, by host or path. It knows the state of every sandbox
// from the views, and reports when traffic last passed.
package router

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/certificate"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/run"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
	"github.com/sandbar-io/sandbar/services/router/internal/activity"
	"github.com/sandbar-io/sandbar/services/router/internal/proxy"
)

// Run runs the router until ctx ends.
func Run(ctx context.Context, cfg Config, log *zap.Logger) error {
	traffic, err := listen(cfg.ListenAddress, cfg.Port)
	if err != nil {
		return err
	}
	defer closeQuietly(traffic)
	health, err := run.ListenHealth(cfg.HealthPort)
	if err != nil {
		return err
	}
	defer func() { _ = health.Close() }() // its server has closed it by then
	conn, err := natsx.Connect("router", cfg.NATS, log)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.Register(health.Metrics)
	if _, err := conn.Announce("router"); err != nil {
		return err
	}
	pair, err := certificate.Open(cfg.TLS, log)
	if err != nil {
		return err
	}
	follower := views.NewFollower(conn.JS, nil, log) // nil: the router cannot open session keys
	known := source{follower.Memory(), follower}
	tracker := activity.NewTracker()
	handler := proxy.New(proxy.Config{
		Pattern: cfg.URL.Pattern(), Ports: cfg.URL.Ports(), TrustForwarded: cfg.TrustForwarded, UpstreamIdle: cfg.UpstreamIdle,
		Views: known, Activity: tracker, Metrics: proxy.NewMetrics(health.Metrics), Log: log,
	})
	defer handler.Close()
	reporter := activity.NewReporter(tracker, activity.Bucket{JS: conn.JS}, known.alive, log)
	health.Ask(func() run.Report { return readiness(conn, follower) })

	g := run.NewGroup(ctx)
	g.Serve(newServer(handler, pair.Config(), log), traffic, health.Drain, handler.CloseUpgraded)
	health.Serve(g)
	g.Add(follower.Run)
	g.Add(reporter.Run)
	g.Add(pair.Watch)
	log.Info("serving", zap.Stringer("address", traffic.Addr()), zap.Stringer("health_address", health.Addr()),
		zap.Bool("tls", cfg.TLS.On()))
	return g.Run()
}

func listen(address string, port int) (net.Listener, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}

// closeQuietly closes a listener that its server may have closed already.
func closeQuietly(l net.Listener) { _ = l.Close() }

// source is a follower as the proxy sees it.
type source struct {
	*views.Memory
	follower *views.Follower
}

func (s source) ReadIndex(ctx context.Context) error { return s.follower.ReadIndex(ctx) }

// alive: activity of a sandbox that is stopped or unknown is not told.
func (s source) alive(runtimeID string) bool {
	v := s.Runtime(runtimeID)
	return v != nil && v.Status != sandbox.StatusStopped
}
