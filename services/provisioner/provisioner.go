// Package provisioner takes commands from the bus and makes Kubernetes follow.
package provisioner

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"
	"k8s.io/client-go/kubernetes"
	gateways "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/run"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/bus"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/cluster"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/command"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/quota"
)

// Name is the service's name on the bus.
const Name = "provisioner"

// Run runs a provisioner until ctx ends.
func Run(ctx context.Context, cfg Config, log *zap.Logger) error {
	objects, err := cfg.objects()
	if err != nil {
		return err
	}
	sealer, err := contract.NewSealer(cfg.SealingKey)
	if err != nil {
		return err
	}
	rest, err := kube.ClientConfig(cfg.Kubeconfig)
	if err != nil {
		return err
	}
	rest.Wrap(cluster.LogWrites(log))
	rest.Wrap(cluster.TellBusy)
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return fmt.Errorf("make a Kubernetes client: %w", err)
	}
	gw, err := gateways.NewForConfig(rest)
	if err != nil {
		return fmt.Errorf("make a client of the Gateway API: %w", err)
	}
	health, err := run.ListenHealth(cfg.HealthPort)
	if err != nil {
		return err
	}
	conn, err := natsx.Connect(Name, cfg.NATS, log)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.Register(health.Metrics)
	if _, err := conn.Announce(Name); err != nil {
		return err
	}
	made := cluster.New(client, gw, objects)
	runner := &command.Runner{
		Cluster: made,
		Places:  quota.NewKeeper(made, 0),
		Views:   views.NewStore(conn.JS, sealer, 0),
		Route: func(tenant, sessionID, runtimeID string) sandbox.Route {
			label := runtimeID
			if !objects.URLs.PathMode {
				label = sandbox.HostLabel(sandbox.LabelMode(cfg.HostLabel), tenant, sessionID, runtimeID)
			}
			return objects.URLs.NewRoute(label, objects.Ports)
		},
		Policy: sandbox.Policy{ReadinessGrace: cfg.ReadinessGrace, StartGrace: cfg.StartGrace, VerifyRoute: cfg.Routing.Verify()},
		Now:    time.Now,
	}
	b := bus.New(conn, runner, cfg.Workers, log)
	health.Ask(func() run.Report {
		r := run.Report{Unready: conn.Denied(), Parts: map[string]any{"nats": "ok", "queue": "ok"}}
		if err := conn.Healthy(); err != nil {
			r.Degraded = err.Error()
			r.Parts["nats"] = r.Degraded
		}
		if !b.Ready() {
			r.Parts["queue"] = "the command queue is not there yet"
			r.Degraded = "the command queue is not there yet"
		}
		return r
	})
	g := run.NewGroup(ctx)
	health.Serve(g)
	g.Add(b.Run)
	log.Info("provisioner runs", zap.Stringer("health_address", health.Addr()), zap.String("namespace", cfg.Namespace), zap.Int("workers", cfg.Workers))
	return g.Run()
}
