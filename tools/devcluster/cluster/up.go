package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sandbar-io/sandbar/tools/devcluster/internal/binaries"
	"github.com/sandbar-io/sandbar/tools/devcluster/internal/sysctl"
)

// Up brings a cluster up, and returns when a pod can be created. If that very
// cluster is up already it returns at once; leftovers of one that crashed are
// cleared away first.
func Up(ctx context.Context, o Options) error {
	if err := o.settle(); err != nil {
		return err
	}
	release, err := lock(o.Dir)
	if err != nil {
		return err
	}
	defer release()
	done, err := settled(ctx, o)
	if done || err != nil {
		return err
	}
	b := &builder{Options: o, layout: layoutOf(o), began: time.Now()}
	b.nodes = b.layout.nodes(o.RealNodes)
	if err := b.preflight(ctx); err != nil {
		return err
	}
	if err := b.claim(); err != nil {
		return err
	}
	if err := b.raise(ctx); err != nil {
		return fmt.Errorf("%w (what has started stays for a look; `devcluster down` clears it away)", err)
	}
	b.step("up: kubeconfig %s", b.kubeconfig())
	return nil
}

// lock keeps two runs of the tool off the same cluster.
func lock(dir string) (release func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("folder of the cluster: %w", err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("folder of the cluster: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another devcluster is at work on %s", dir)
	}
	return func() { f.Close() }, nil
}

// settled reports whether nothing is left to do because the cluster is up. It
// clears the remains of one that is neither up nor down.
func settled(ctx context.Context, o Options) (bool, error) {
	b, err := readBegun(o.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	broken := faults(ctx, b)
	if len(broken) > 0 {
		o.say("clearing the remains of a cluster that is not whole: %s", strings.Join(broken, ", "))
		return false, takeDown(b.Layout, o)
	}
	if b.Layout.Instance != o.Instance || b.Options != o.essence() {
		return false, fmt.Errorf("a cluster with other options is up in %s (instance %d, nodes %s): run `devcluster down` first", o.Dir, b.Layout.Instance, b.Options.Nodes)
	}
	o.say("is up already: kubeconfig %s", b.Layout.kubeconfig())
	return true, nil
}

// faults lists what is wrong with a cluster that was begun; nothing means up.
func faults(ctx context.Context, b begun) []string {
	var wrong []string
	if _, err := Load(b.Layout.Dir); err != nil {
		wrong = append(wrong, "up never ended")
	}
	table := b.Layout.table()
	for _, name := range table.Names() {
		if _, err := table.Find(name); err != nil {
			wrong = append(wrong, name+" does not run")
		}
	}
	if len(wrong) == 0 {
		if err := healthy(plain, b.Layout.apiURL()+"/readyz")(ctx); err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	return wrong
}

// builder is one run of Up.
type builder struct {
	Options
	layout
	nodes []node
	cache binaries.Cache
	began time.Time
}

// step says what is done and how long all took until then.
func (b *builder) step(format string, a ...any) {
	b.say("%6.1f s  %s", time.Since(b.began).Seconds(), fmt.Sprintf(format, a...))
}

// claim takes the instance and writes down what is going to be made.
func (b *builder) claim() error {
	if err := free(b.layout); err != nil {
		return err
	}
	// Logs of the run before are of no use to this one.
	if err := os.RemoveAll(b.path("log")); err != nil {
		return fmt.Errorf("folder of the cluster: %w", err)
	}
	for _, dir := range []string{b.path("log"), b.path("pid"), b.path("volumes"), b.run()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("folder of the cluster: %w", err)
		}
	}
	if err := writeJSON(b.path("begun.json"), begun{b.layout, b.essence()}); err != nil {
		return fmt.Errorf("folder of the cluster: %w", err)
	}
	if err := os.WriteFile(b.owner(), []byte(b.layout.Dir+"\n"), 0o644); err != nil {
		return fmt.Errorf("instance %d: %w", b.layout.Instance, err)
	}
	if b.Bridged {
		return ledger.Hold(b.layout.Dir)
	}
	return nil
}

// free reports whether the instance can be taken.
func free(l layout) error {
	if owner := ownerOf(l); owner != "" && owner != l.Dir {
		return fmt.Errorf("instance %d belongs to the cluster in %s: run `devcluster down --dir %s`, or use another SANDBAR_INSTANCE (0 to 9)", l.Instance, owner, owner)
	}
	return nil
}

// ledger is shared by all clusters of the machine, and gone after a reboot.
var ledger = sysctl.Ledger{Path: "/run/sandbar-sysctls.json", Root: "/proc/sys"}

func (b *builder) raise(ctx context.Context) error {
	if err := certify(b.layout, b.nodes); err != nil {
		return err
	}
	if b.Bridged {
		if err := raiseBridge(b.layout); err != nil {
			return err
		}
	}
	b.step("certificates and network")
	err := together(ctx,
		func(ctx context.Context) error { return startEtcd(ctx, b.layout, b.cache) },
		b.startServices,
	)
	if err != nil {
		return err
	}
	err = together(ctx,
		func(ctx context.Context) error { return startAPIServer(ctx, b.layout, b.cache) },
		b.furnishNodes,
	)
	if err != nil {
		return err
	}
	b.step("API server answers at %s", b.apiURL())
	client, err := Client(b.kubeconfig())
	if err != nil {
		return err
	}
	work := []func(context.Context) error{
		func(ctx context.Context) error { return startControllers(ctx, b.layout, b.cache) },
		func(ctx context.Context) error { return inhabited(ctx, client) },
	}
	if !b.ControlPlaneOnly {
		work = append(work,
			func(ctx context.Context) error { return startScheduler(ctx, b.layout, b.cache) },
			func(ctx context.Context) error { return createClasses(ctx, client, b.Nodes) },
			func(ctx context.Context) error { return b.simulate(ctx, client) },
		)
	}
	for _, n := range b.nodes {
		work = append(work, func(ctx context.Context) error { return b.runNode(ctx, client, n) })
	}
	if err := together(ctx, work...); err != nil {
		return err
	}
	resolv := fmt.Sprintf("# for clients in a network namespace of their own\nnameserver %s\noptions timeout:2 attempts:3\n", b.host())
	if err := os.WriteFile(b.path("resolv.conf"), []byte(resolv), 0o644); err != nil {
		return fmt.Errorf("resolv.conf: %w", err)
	}
	return writeJSON(b.path("cluster.json"), b.describe(b.Options, b.cache.Dir))
}

func (b *builder) furnishNodes(ctx context.Context) error {
	if len(b.nodes) == 0 {
		return nil
	}
	pause, err := b.pushPause(ctx)
	if err != nil {
		return err
	}
	for _, n := range b.nodes {
		if err := n.prepare(b.nodes, pause); err != nil {
			return err
		}
	}
	work := make([]func(context.Context) error, 0, len(b.nodes))
	for _, n := range b.nodes {
		work = append(work, n.startContainerd)
	}
	return together(ctx, work...)
}

func (b *builder) runNode(ctx context.Context, client kubernetes.Interface, n node) error {
	kubelet, err := n.startKubelet(b.cache)
	if err != nil {
		return err
	}
	if b.KubeProxy {
		if _, err := n.startProxy(b.cache); err != nil {
			return err
		}
		if n.index == 1 {
			if err := addRoute(b.serviceCIDR(), n.address()); err != nil {
				return err
			}
		}
	}
	if err := ready(ctx, client, n.name(), kubelet); err != nil {
		return err
	}
	b.step("%s is ready", n.name())
	return nil
}

// together runs all at once and waits for all. The first that fails ends the
// others, and its error is the one that counts.
func together(ctx context.Context, work ...func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for _, w := range work {
		all.Go(func() {
			if err := w(ctx); err != nil {
				cancel(err)
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// Client is an admin's client without a rate limit.
func Client(kubeconfig string) (*kubernetes.Clientset, error) {
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Clean(kubeconfig))
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	return client, nil
}
