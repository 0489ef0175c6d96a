package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sandbar-io/sandbar/tools/devcluster/internal/binaries"
)

// room is what a cold build of Kubernetes takes, with Go's caches, in bytes.
const room = 15 << 30

// preflight checks the machine, and installs and builds what is missing. What
// does not fit is one line each.
func (b *builder) preflight(ctx context.Context) error {
	if len(b.nodes) > 0 {
		if err := b.fitsRealNodes(); err != nil {
			return err
		}
		if err := b.install(ctx); err != nil {
			return err
		}
	}
	cache, err := openCache(b.Options)
	if err != nil {
		return err
	}
	b.cache = cache
	return b.build(ctx)
}

func (b *builder) fitsRealNodes() error {
	if !capable() {
		return fmt.Errorf("real nodes need Linux and root (this is %s, user id %d); NODES=simulated needs neither", runtime.GOOS, os.Geteuid())
	}
	if err := cgroupsFit(); err != nil {
		return err
	}
	if unified() {
		b.say("cgroup v2: never tried with this tool, which was made on v1; going on")
	}
	if err := free(b.layout); err != nil {
		return err
	}
	if len(ourLinks(b.layout)) > 0 {
		return fmt.Errorf("there is a link %s already, of a cluster that is lost: run `devcluster down --instance %d`", b.bridge(), b.layout.Instance)
	}
	return overlap(b.layout)
}

// cgroupsFit checks that the controllers which kubelet and runc want are there.
func cgroupsFit() error {
	if unified() {
		return nil
	}
	have := hierarchies()
	var missing []string
	for _, controller := range []string{"cpu", "cpuset", "memory", "pids", "devices", "freezer"} {
		mounted := func(path string) bool {
			return slices.Contains(strings.Split(filepath.Base(path), ","), controller)
		}
		if !slices.ContainsFunc(have, mounted) {
			missing = append(missing, controller)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("cgroup v1 without the controllers %s below %s: real nodes cannot run here; NODES=simulated can", strings.Join(missing, ", "), cgroupRoot)
	}
	return nil
}

// install gets the machine's missing programs from Debian. A containerd or runc
// of another origin (Docker's packages) is used as it is.
func (b *builder) install(ctx context.Context) error {
	var packages []string
	need := func(program, pkg string) {
		if _, err := exec.LookPath(program); err != nil {
			packages = append(packages, pkg)
		}
	}
	need("containerd", "containerd")
	need("runc", "runc")
	if b.KubeProxy {
		need("nft", "nftables")
	}
	if _, err := pluginFolder(); err != nil {
		packages = append(packages, "containernetworking-plugins")
	}
	if len(packages) == 0 {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("missing programs, and no apt-get to install them: %s", strings.Join(packages, ", "))
	}
	b.step("installing %s with apt-get", strings.Join(packages, " "))
	if err := os.MkdirAll(b.path("log"), 0o755); err != nil {
		return err
	}
	for _, args := range [][]string{{"update"}, append([]string{"install", "-y", "--no-install-recommends"}, packages...)} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// CacheDir is the folder of what is built once for this machine.
func CacheDir() (string, error) {
	dir, err := binaries.CacheDir()
	return filepath.Dir(dir), err
}

func openCache(o Options) (binaries.Cache, error) {
	dir, err := binaries.CacheDir()
	if err != nil {
		return binaries.Cache{}, err
	}
	source, err := binaries.FindSource()
	if err != nil {
		return binaries.Cache{}, err
	}
	return binaries.Cache{Dir: dir, Source: source, Log: o.say}, nil
}

// build makes sure that the cluster's programs exist.
func (b *builder) build(ctx context.Context) error {
	names := []binaries.Name{binaries.Etcd, binaries.Kubernetes}
	if b.SimulatedNodes > 0 {
		names = append(names, binaries.Kwok)
	}
	if len(b.nodes) > 0 {
		names = append(names, binaries.Pause)
	}
	return ensure(ctx, b.cache, b.Options, names)
}

func ensure(ctx context.Context, cache binaries.Cache, o Options, names []binaries.Name) error {
	missing, err := cache.Missing(names...)
	if err != nil || len(missing) == 0 {
		return err
	}
	if _, err := exec.LookPath("go"); err != nil {
		return errors.New("go is not in PATH, and the cluster's programs must be built with it")
	}
	if slices.Contains(missing, binaries.Kubernetes) {
		if err := os.MkdirAll(cache.Dir, 0o755); err != nil {
			return fmt.Errorf("cache of programs: %w", err)
		}
		var fs unix.Statfs_t
		if err := unix.Statfs(cache.Dir, &fs); err == nil && fs.Bavail*uint64(fs.Bsize) < room {
			return fmt.Errorf("%d GB free at %s: building Kubernetes takes up to %d GB", fs.Bavail*uint64(fs.Bsize)>>30, cache.Dir, room>>30)
		}
		o.say("building Kubernetes from its Go modules, once for this machine: about 15 minutes on 2 cores")
	}
	return cache.Ensure(ctx, names...)
}

// Build builds all programs that any cluster may need.
func Build(ctx context.Context, o Options) error {
	cache, err := openCache(o)
	if err != nil {
		return err
	}
	return ensure(ctx, cache, o, []binaries.Name{binaries.Etcd, binaries.Kubernetes, binaries.Kwok, binaries.Pause, binaries.Traefik})
}

// Traefik is the path of an ingress controller, which is built where it is not
// there yet.
func Traefik(ctx context.Context, o Options) (string, error) {
	cache, err := openCache(o)
	if err != nil {
		return "", err
	}
	return cache.Path(binaries.Traefik), ensure(ctx, cache, o, []binaries.Name{binaries.Traefik})
}

// Pin writes a wrapper module of build/ anew. See build/README.md.
func Pin(ctx context.Context, o Options, name, version string) error {
	cache, err := openCache(o)
	if err != nil {
		return err
	}
	return cache.Pin(ctx, binaries.Name(name), version)
}
