package robustness

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/sandbar-io/sandbar/pkg/faultproxy"
	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/devcluster/cluster"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/plan"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/soak"
)

// installation is all of Sandbar as processes, on simulated nodes.
type installation struct {
	*stack.Stack
	kube     *kubernetes.Clientset // the admin's
	http     *http.Client
	keys     []string // by tenant
	gateways []*gateway
	proxies  map[string]*faultproxy.Proxy // by the service whose connection to NATS they carry
	image    string
}

// proxied reach NATS through a proxy, their brothers directly.
var proxied = []string{"gateway-1", "provisioner-1", "watcher-1"}

// answers are side effects whose answer a service may lose, points where it may kill
// itself or hang.
var (
	answers = map[string][]string{
		"provisioner": {
			"provisioner/after-record", "provisioner/after-volume", "provisioner/after-pod",
			"provisioner/after-delete", "provisioner/after-view", "provisioner/after-reply", "provisioner/after-ack",
		},
		"watcher": {"watcher/after-view-write", "watcher/after-event", "watcher/after-command"},
	}
	points = map[string][]string{
		"provisioner": append([]string{"provisioner/after-fetch", "provisioner/before-ack"}, answers["provisioner"]...),
		"watcher":     append([]string{"watcher/after-events"}, answers["watcher"]...),
	}
)

// purgeAfter is the least that is allowed.
const purgeAfter = 50 * time.Second

// spared live as long as a run that is a soak: what a process gathers within an
// hour shows itself only in one that is an hour old.
var spared = []string{"gateway-0", "provisioner-0", "watcher-0"}

func (w *world) targets() plan.Targets {
	t := plan.Targets{Services: w.Names(), Proxied: proxied, Points: points, Answers: answers}
	if w.Duration >= soak.Shortest {
		t.Spared = spared
	}
	return t
}

func tenantName(i int) string {
	if i == 0 {
		return "default"
	}
	return fmt.Sprintf("tenant-%d", i)
}

func install(ctx context.Context, o Options) (in *installation, err error) {
	in = &installation{proxies: map[string]*faultproxy.Proxy{}}
	state, err := cluster.Load(o.Cluster)
	if err != nil {
		return nil, err
	}
	if in.kube, err = cluster.Client(state.Kubeconfig); err != nil {
		return nil, err
	}
	so, err := in.options(o, state)
	if err != nil {
		return nil, errors.Join(err, in.closeProxies())
	}
	in.image = state.Registry + "/sandbar/agent:1" // simulated nodes pull nothing
	if in.Stack, err = stack.Start(ctx, so); err != nil {
		// What has begun to run is ended by what stands in its folder.
		half, loadErr := stack.Load(so.Dir)
		if loadErr == nil {
			loadErr = half.Stop()
		}
		return nil, errors.Join(err, loadErr, stack.Remove(context.WithoutCancel(ctx), in.kube, so), in.closeProxies())
	}
	if in.http, err = client.NewHTTP(state.BaseDomain, in.Of("router")[0].URL); err != nil {
		return nil, errors.Join(err, in.remove(context.WithoutCancel(ctx)))
	}
	for _, svc := range in.Of("gateway") {
		in.gateways = append(in.gateways, &gateway{name: svc.Name, url: svc.URL})
	}
	return in, nil
}

func stackDir(o Options) string { return filepath.Join(o.Dir, "stack") }

func (in *installation) options(o Options, state *cluster.State) (stack.Options, error) {
	keys, err := in.writeKeys(o.Dir)
	if err != nil {
		return stack.Options{}, err
	}
	port, err := stack.FreePort()
	if err != nil {
		return stack.Options{}, err
	}
	own := map[string][]string{}
	for _, name := range proxied {
		p, err := faultproxy.Listen(fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return stack.Options{}, err
		}
		in.proxies[name] = p
		own[name] = []string{"NATS_URL=nats://" + p.Address()}
	}
	// No two runs have the same namespaces: one that was killed leaves its own.
	name := fmt.Sprintf("robust-%d-%s", o.Seed, strings.ToLower(rand.Text()[:8]))
	return stack.Options{
		Dir: stackDir(o), Repo: o.Repo, Cluster: state, Failpoints: true,
		SystemNamespace: name + "-system", SandboxNamespace: name + "-sandboxes",
		Gateways: 3, Provisioners: 2, Watchers: 2, Routers: 1, NATSPort: port, Own: own,
		Settings: append(stack.Placement(false),
			"API_KEYS_FILE="+keys,
			// A watcher's successor comes within seconds; what was stopped is forgotten
			// as early as may be.
			"LEASE_DURATION=5s", "LEASE_RENEW=3s", "LEASE_RETRY=500ms", "PURGE_AFTER="+purgeAfter.String()),
		Log: func(string, ...any) {},
	}, nil
}

func (in *installation) writeKeys(dir string) (string, error) {
	text := "keys:\n"
	for i := range tenants {
		key := stack.NewAPIKey()
		in.keys = append(in.keys, key)
		text += fmt.Sprintf("  - {name: robust-%d, sha256: %s, tenant: %s}\n", i, stack.HashAPIKey(key), tenantName(i))
	}
	path, err := filepath.Abs(filepath.Join(dir, "keys.yaml"))
	if err != nil {
		return "", err
	}
	return path, os.WriteFile(path, []byte(text), 0o600)
}

func (in *installation) closeProxies() error {
	var errs []error
	for _, p := range in.proxies {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}

// remove ends all processes and takes the namespaces away; the logs stay.
func (in *installation) remove(ctx context.Context) error {
	if in.http != nil {
		in.http.CloseIdleConnections()
	}
	logs := filepath.Join(filepath.Dir(in.Dir), "log")
	return errors.Join(in.Stop(), in.closeProxies(),
		os.CopyFS(logs, os.DirFS(filepath.Dir(in.LogPath("nats")))), stack.Remove(ctx, in.kube, in.Options))
}

// once is a file that tells that a failpoint was hit.
func (in *installation) once(round int, target, point string) string {
	return filepath.Join(in.Dir, fmt.Sprintf("once-%d-%s-%s", round, target, strings.ReplaceAll(point, "/", "-")))
}
