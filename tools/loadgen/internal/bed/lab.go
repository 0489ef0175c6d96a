// Package bed starts what is measured: the services as they ship, as processes of
// their own, with a real NATS server, and beside them the programs that they are
// held against.
package bed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sandbar-io/sandbar/tools/devcluster/cluster"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
	"github.com/sandbar-io/sandbar/tools/internal/process"
	"github.com/sandbar-io/sandbar/tools/internal/stubapi"
)

// Lab is where one run measures.
type Lab struct {
	Root string // of the repository
	Dir  string

	table process.Table
	beds  []*Bed
	count int
}

// Open builds the services into dir, and ends what a run that was killed has left
// there.
func Open(ctx context.Context, root, dir string) (*Lab, error) {
	l := &Lab{Root: root, Dir: dir}
	l.table = process.Table{Pids: l.path("pid"), Logs: l.path("log"), Mark: l.path("limits")}
	if err := l.removeOld(); err != nil {
		return nil, err
	}
	for _, d := range []string{l.table.Pids, l.table.Logs, l.bin()} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, fmt.Errorf("make the folders: %w", err)
		}
	}
	return l, stack.Build(ctx, root, l.bin(), false)
}

func (l *Lab) path(elem ...string) string {
	return filepath.Join(append([]string{l.Dir, "lab"}, elem...)...)
}

func (l *Lab) bin() string { return filepath.Join(l.Dir, "bin") }

func (l *Lab) removeOld() error {
	old, err := filepath.Glob(l.path("*", "stack", "stack.json"))
	if err != nil {
		return err
	}
	var errs []error
	for _, file := range old {
		s, err := stack.Load(filepath.Dir(file))
		if err == nil {
			err = s.Stop()
		}
		errs = append(errs, err)
	}
	process.Kill(l.table.Marked(), 10*time.Second)
	return errors.Join(append(errs, os.RemoveAll(l.path()))...)
}

// Close ends everything. The logs stay until the next run.
func (l *Lab) Close() error {
	var errs []error
	for _, b := range l.beds {
		errs = append(errs, b.Close())
	}
	if left := process.Kill(l.table.Marked(), 10*time.Second); len(left) > 0 {
		errs = append(errs, fmt.Errorf("%d limits do not end", len(left)))
	}
	return errors.Join(errs...)
}

// Server is one of the limit's.
type Server struct {
	URL string
	Pid int
}

// Limit starts one of package limit's servers, by this very program.
func (l *Lab) Limit(ctx context.Context, kind string, args ...string) (Server, error) {
	self, err := os.Executable()
	if err != nil {
		return Server{}, fmt.Errorf("this program's own path: %w", err)
	}
	address, err := freeAddress()
	if err != nil {
		return Server{}, err
	}
	pid, err := l.start(ctx, kind, self, address, append([]string{"limit", kind, address}, args...))
	return Server{"http://" + address, pid}, err
}

// NATS starts a server without users, and returns its URL.
func (l *Lab) NATS(ctx context.Context) (string, error) {
	address, err := freeAddress()
	if err != nil {
		return "", err
	}
	conf := l.path("limit-nats.conf")
	text := fmt.Sprintf("listen: %q\njetstream { store_dir: %q }\n", address, l.path("limit-nats"))
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		return "", fmt.Errorf("configuration of the limit's NATS: %w", err)
	}
	_, err = l.start(ctx, "nats", filepath.Join(l.bin(), "natsserver"), address, []string{conf})
	return "nats://" + address, err
}

// start starts a program, and returns its pid once it takes connections.
func (l *Lab) start(ctx context.Context, name, path, address string, argv []string) (int, error) {
	l.count++
	p, err := l.table.Start(process.Command{Name: fmt.Sprintf("limit-%s-%d", name, l.count), Path: path, Argv: argv})
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return p.Pid, Until(ctx, func() error {
		select {
		case <-p.Done():
			return p.Failure()
		default:
		}
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err
	})
}

func freeAddress() (string, error) {
	port, err := stack.FreePort()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), err
}

// Start starts a stub API server and a stack beside it.
func (l *Lab) Start(ctx context.Context, name string, o stack.Options) (*Bed, error) {
	dir := l.path(name)
	stub, err := stubapi.Start(filepath.Join(dir, "stub"))
	if err != nil {
		return nil, err
	}
	b := newBed(stub)
	l.beds = append(l.beds, b)
	o.Cluster = &cluster.State{Kubeconfig: stub.Kubeconfig, BaseDomain: "bench.localhost", Registry: "registry.bench:5000"}
	return b, l.stack(ctx, b, dir, o)
}

// StartOn starts a stack beside a cluster that is there.
func (l *Lab) StartOn(ctx context.Context, name string, c *cluster.State, o stack.Options) (*Bed, error) {
	b := newBed(nil)
	l.beds = append(l.beds, b)
	o.Cluster = c
	return b, l.stack(ctx, b, l.path(name), o)
}

func (l *Lab) stack(ctx context.Context, b *Bed, dir string, o stack.Options) error {
	o.Dir, o.Repo, o.Bin, o.Log = filepath.Join(dir, "stack"), l.Root, l.bin(), func(string, ...any) {}
	o.Settings = append([]string{"LOG_LEVEL=warn"}, o.Settings...)
	s, err := stack.Start(ctx, o)
	if err != nil {
		// Some of it may run, and its state tells what.
		if left, loaded := stack.Load(o.Dir); loaded == nil {
			err = errors.Join(err, left.Stop())
		}
		return err
	}
	b.Stack = s
	return nil
}

// Until asks again and again until there is no error.
func Until(ctx context.Context, ask func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// End ends an instance gently.
func (b *Bed) End(name string) error {
	if err := b.Stack.Signal(name, unix.SIGTERM); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return Until(ctx, func() error {
		if b.Stack.Running(name) {
			return fmt.Errorf("%s still runs", name)
		}
		return nil
	})
}
