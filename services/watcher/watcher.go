// Package watcher is the service that turns what Kubernetes holds into views,
// events and commands. This file is its wiring.
package watcher

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/klog/v2"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/run"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
	"github.com/sandbar-io/sandbar/services/watcher/internal/agent"
	"github.com/sandbar-io/sandbar/services/watcher/internal/bucket"
	"github.com/sandbar-io/sandbar/services/watcher/internal/commands"
	"github.com/sandbar-io/sandbar/services/watcher/internal/events"
	"github.com/sandbar-io/sandbar/services/watcher/internal/faults"
	"github.com/sandbar-io/sandbar/services/watcher/internal/leader"
	"github.com/sandbar-io/sandbar/services/watcher/internal/logs"
	"github.com/sandbar-io/sandbar/services/watcher/internal/meter"
	"github.com/sandbar-io/sandbar/services/watcher/internal/observer"
	"github.com/sandbar-io/sandbar/services/watcher/internal/podwatch"
	"github.com/sandbar-io/sandbar/services/watcher/internal/reach"
	"github.com/sandbar-io/sandbar/services/watcher/internal/usage"
	"github.com/sandbar-io/sandbar/services/watcher/internal/witness"
)

const (
	name = "watcher"
	// lease is the name of the Lease.
	lease = "sandbar-watcher"
	// workers look at sandboxes at the same time; a look is a few requests.
	workers = 16
	// checkAgain is how much later a difference between a LIST and a watch must
	// still be there: longer than any watch lags.
	checkAgain = 5 * time.Second
)

// service is one watcher.
type service struct {
	cfg      Config
	identity string
	log      *zap.Logger
	nats     *natsx.Conn
	sealer   *contract.Sealer
	client   kubernetes.Interface
	watch    *podwatch.Watch
	elector  *leader.Elector
	meter    *meter.Meter
	faults   *faults.Faults
	reach    *reach.Client                // nil: nothing is verified
	guard    atomic.Pointer[bucket.Guard] // of the present term
}

// Run runs a watcher until ctx ends.
func Run(ctx context.Context, cfg Config, log *zap.Logger) error {
	health, err := run.ListenHealth(cfg.HealthPort)
	if err != nil {
		return err
	}
	defer func() { _ = health.Close() }() // its server has closed it by then
	s, err := connect(cfg, log)
	if err != nil {
		return err
	}
	defer s.nats.Close()
	announced, err := s.nats.Announce(name)
	if err != nil {
		return err
	}
	defer func() { _ = announced.Stop() }() // the connection may be gone
	s.meter = meter.New(health.Metrics, s.elector.Leads, s.complete)
	s.nats.Register(health.Metrics)
	health.Ask(s.readiness)
	log.Info("started", zap.String("identity", s.identity), zap.Stringer("probes", health.Addr()), zap.String("namespace", cfg.Namespace))

	ctx = klog.NewContext(ctx, zapr.NewLogger(log.Named("client-go")))
	g := run.NewGroup(ctx)
	health.Serve(g)
	g.Add(s.watch.Run)
	g.Add(s.stand)
	return g.Run()
}

// connect makes the clients; nothing is asked yet.
func connect(cfg Config, log *zap.Logger) (*service, error) {
	sealer, err := contract.NewSealer(cfg.SealingKey)
	if err != nil {
		return nil, err
	}
	rest, err := kube.ClientConfig(cfg.Kubeconfig)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return nil, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	headers, err := metadata.NewForConfig(rest)
	if err != nil {
		return nil, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("find the host's name: %w", err)
	}
	s := &service{cfg: cfg, identity: host + "-" + sandbox.NewRuntimeID(), log: log, sealer: sealer, client: client, faults: faults.New()}
	if cfg.Routing.Verify() {
		if s.reach, err = reach.NewClient(cfg.reach()); err != nil {
			return nil, err
		}
	}
	s.watch = podwatch.New(client, headers, podwatch.Config{
		Namespace: cfg.Namespace, RoutingMode: cfg.Routing.Mode,
		CheckEvery: cfg.Resync, CheckAgain: checkAgain, Restarts: func() { s.meter.Restarts.Inc() }, Faults: s.faults,
	}, log)
	s.elector = leader.New(client, cfg.LeaseNamespace, lease, s.identity,
		leader.Times{Duration: cfg.LeaseDuration, Renew: cfg.LeaseRenew, Retry: cfg.LeaseRetry},
		func(verb string, err error) { s.faults.Request(verb+" the lease", err) }, log)
	if s.nats, err = natsx.Connect(name, cfg.NATS, log); err != nil {
		return nil, err
	}
	return s, nil
}

// stand waits until the watches are loaded and then stands for election.
func (s *service) stand(ctx context.Context) error {
	select {
	case <-s.watch.Synced():
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.elector.Run(ctx, s.lead)
}

// lead is one term of leadership.
func (s *service) lead(ctx context.Context) {
	js, store := s.nats.JS, views.NewStore(s.nats.JS, s.sealer, 0)
	tails := logs.New(s.readLog(), s.log)
	seen, book, agents := witness.New(witness.System()), usage.NewBook(time.Now), agent.New(s.cfg.URL.AgentPort, time.Now, s.log)
	observe := observer.Config{Policy: s.cfg.policy(), PurgeAfter: s.cfg.PurgeAfter, Clocks: s.cfg.Clocks.Clocks(), Workers: workers, FirstShown: sandbox.FirstShown}
	var routes *reach.Routes
	if s.reach != nil {
		routes = reach.New(s.reach.Look, s.log)
		observe.Routes = routes
	}
	published := events.New(js, s.meter, s.log)
	o := observer.New(
		observe, s.watch, store, published, commands.New(js, s.meter, s.log), tails,
		observer.Clocks{Witness: seen, Usage: book, Agents: agents}, s.meter, s.log, time.Now)
	guard := &bucket.Guard{
		JS: js, Ensure: s.nats.EnsureViews, Remake: s.nats.RemakeViews, Beats: store, Witness: seen, Records: s.watch, Observer: o, Events: published,
		Identity: s.identity, Resync: s.cfg.Resync, Log: s.log,
	}
	s.guard.Store(guard)
	s.watch.Subscribe(o.Enqueue)
	defer s.watch.Subscribe(nil)
	var wg sync.WaitGroup
	wg.Go(func() { tails.Run(ctx, o.Enqueue) })
	wg.Go(func() { agents.Run(ctx, o.Enqueue) })
	wg.Go(func() { book.Follow(ctx, js, s.log) })
	if routes != nil {
		wg.Go(func() { routes.Run(ctx, o.Enqueue) })
	}
	wg.Go(func() { o.Run(ctx) })
	wg.Go(func() { guard.Run(ctx) })
	wg.Wait()
}

func (s *service) readLog() logs.Read {
	read := logs.Reader(s.client, s.cfg.Namespace)
	return func(ctx context.Context, pod string, previous bool) (string, error) {
		text, err := read(ctx, pod, previous)
		s.faults.Request("read a log", err)
		return text, err
	}
}

func (s *service) complete() bool {
	g := s.guard.Load()
	return g != nil && g.Complete()
}

// readiness is 503 only while another replica would do better: the watches are
// not loaded, or stood still, or a permission is missing. What all share is told with
// 200.
func (s *service) readiness() run.Report {
	const ok = "ok"
	nats, kubernetes, role := ok, ok, "standby"
	if err := s.nats.Healthy(); err != nil {
		nats = err.Error()
	}
	denied, err := s.faults.Now()
	if err != nil {
		kubernetes = err.Error()
	}
	if s.elector.Leads() {
		role = "leader"
	}
	synced := false
	select {
	case <-s.watch.Synced():
		synced = true
	default:
	}
	behind := s.watch.Behind()
	out := run.Report{Parts: map[string]any{
		"role": role, "leader": s.elector.Leader(), "synced": synced && len(behind) == 0,
		"views_complete": s.complete(), // as the leader knows; a standby cannot
		"sandboxes":      len(s.watch.Keys()), "nats": nats, "kubernetes": kubernetes,
		"denied": denied || s.nats.Denied() != "",
	}}
	if nats != ok {
		out.Degraded = nats
	}
	if kubernetes != ok {
		out.Degraded = kubernetes
	}
	switch {
	case denied:
		out.Unready = kubernetes
	case s.nats.Denied() != "":
		out.Unready = nats
	case !synced:
		out.Unready = "the watches are not loaded yet"
		if kubernetes != ok {
			out.Unready += ": " + kubernetes
		}
	case len(behind) > 0:
		out.Unready = "the watch of " + strings.Join(behind, " and ") + " stood still"
	}
	return out
}
