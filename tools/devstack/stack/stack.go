package stack

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sandbar-io/sandbar/tools/devcluster/cluster"
	"github.com/sandbar-io/sandbar/tools/internal/process"
)

// Stack is a running stack. Its state is kept in Dir, so that another process
// can load and end it.
type Stack struct {
	Options
	Secrets  Secrets             `json:"-"`
	Services map[string]*Service // by instance name: gateway-0
	NATSURL  string              // of all servers
	NATS     []*NATSServer

	table process.Table
}

// Service is one process of the stack.
type Service struct {
	Name   string // instance: gateway-0
	Kind   string // gateway
	URL    string // what it serves
	Health string // base URL of its health endpoints
	Env    []string
}

var errEnded = errors.New("ended")

const readyTimeout = 60 * time.Second

// Start builds and starts a stack, and returns when it can start a sandbox.
func Start(ctx context.Context, o Options) (*Stack, error) {
	if err := o.settle(); err != nil {
		return nil, err
	}
	s := &Stack{Options: o, Services: map[string]*Service{}}
	s.table = process.Table{Pids: filepath.Join(o.Dir, "pid"), Logs: filepath.Join(o.Dir, "log"), Mark: o.Dir}
	for _, dir := range []string{s.table.Pids, s.table.Logs, s.bin()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("make the stack's folders: %w", err)
		}
	}
	if err := s.secrets(); err != nil {
		return nil, err
	}
	if s.Bin == "" {
		if err := Build(ctx, s.Repo, s.bin(), s.Failpoints); err != nil {
			return nil, err
		}
	}
	client, err := cluster.Client(o.Cluster.Kubeconfig)
	if err != nil {
		return nil, err
	}
	if err := s.GiveRights(ctx, client); err != nil {
		return nil, err
	}
	if err := s.plan(ctx, client); err != nil {
		return nil, err
	}
	if err := s.save(); err != nil {
		return nil, err
	}
	if err := s.StartNATS(ctx); err != nil {
		return nil, err
	}
	if s.Controller.Traefik != "" {
		if err := s.StartController(ctx); err != nil {
			return nil, err
		}
	}
	for _, name := range s.Names() {
		if err := s.StartService(name); err != nil {
			return nil, err
		}
	}
	return s, s.WaitReady(ctx)
}

func (s *Stack) bin() string {
	if s.Bin != "" {
		return s.Bin
	}
	return filepath.Join(s.Dir, "bin")
}

// Names lists the instances, in order.
func (s *Stack) Names() []string {
	var names []string
	for n := range s.Services {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Processes lists all that run beside the cluster, by the names of their logs.
func (s *Stack) Processes() []string {
	all := append(s.Names(), s.NATSNames()...)
	if s.Controller.Traefik != "" {
		all = append(all, controllerName)
	}
	return all
}

// Of lists the instances of one kind, in order.
func (s *Stack) Of(kind string) []*Service {
	var out []*Service
	for _, n := range s.Names() {
		if s.Services[n].Kind == kind {
			out = append(out, s.Services[n])
		}
	}
	return out
}

// Build builds the services as they ship, each module by itself, and the NATS
// server, into a folder that stacks can share. More flags are go build's.
func Build(ctx context.Context, repo, bin string, failpoints bool, flags ...string) error {
	for _, kind := range []string{"gateway", "provisioner", "watcher", "router"} {
		if err := compile(ctx, filepath.Join(repo, "services", kind), "./cmd/"+kind, filepath.Join(bin, kind), failpoints, flags); err != nil {
			return err
		}
	}
	return compile(ctx, filepath.Join(repo, "tools"), "./natsserver", filepath.Join(bin, "natsserver"), failpoints, flags)
}

func compile(ctx context.Context, module, pkg, program string, failpoints bool, flags []string) error {
	args := append([]string{"build", "-trimpath", "-o", program}, flags...)
	if failpoints {
		args = append(args, "-tags", "failpoints")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, pkg)...)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", filepath.Base(program), err, out)
	}
	return nil
}

// Pid is the process id of an instance, or of a NATS server, that runs.
func (s *Stack) Pid(name string) (int, error) {
	id, err := s.table.Find(name)
	return id.Pid, err
}

// StartService starts one instance; extra settings win over its own.
func (s *Stack) StartService(name string, extra ...string) error {
	svc := s.Services[name]
	if svc == nil {
		return fmt.Errorf("no service %s", name)
	}
	_, err := s.table.Start(process.Command{
		Name: name, Path: filepath.Join(cmp.Or(s.OwnBin[name], s.bin()), svc.Kind), Env: append(slices.Clone(svc.Env), extra...),
	})
	return err
}

// Signal sends a signal to an instance, or to a NATS server.
func (s *Stack) Signal(name string, sig unix.Signal) error {
	id, err := s.table.Find(name)
	if err != nil {
		return err
	}
	return id.Signal(sig)
}

// Kill ends an instance by SIGKILL and waits until it is gone.
func (s *Stack) Kill(name string) error {
	id, err := s.table.Find(name)
	if err != nil {
		return err
	}
	if left := process.Kill([]process.Identity{id}, 10*time.Second); len(left) > 0 {
		return fmt.Errorf("%s does not end", name)
	}
	return nil
}

// Running reports whether an instance runs.
func (s *Stack) Running(name string) bool {
	_, err := s.table.Find(name)
	return err == nil
}

// Stop ends all processes of a stack: the services first and gently, NATS last.
// What is left is killed. It may be called twice.
func (s *Stack) Stop() error {
	nats := s.NATSNames()
	names := slices.DeleteFunc(s.table.Names(), func(n string) bool { return slices.Contains(nats, n) })
	var ids []process.Identity
	for _, n := range names {
		if id, err := s.table.Find(n); err == nil {
			_ = id.Signal(unix.SIGTERM)
			ids = append(ids, id)
		}
	}
	deadline := time.Now().Add(20 * time.Second)
	for _, id := range ids {
		id.WaitGone(time.Until(deadline))
	}
	for _, n := range nats {
		if id, err := s.table.Find(n); err == nil {
			_ = id.Signal(unix.SIGTERM)
			id.WaitGone(5 * time.Second)
		}
	}
	if left := process.Kill(s.table.Marked(), 10*time.Second); len(left) > 0 {
		return fmt.Errorf("%d processes of the stack do not end", len(left))
	}
	return os.RemoveAll(s.table.Pids)
}

func (s *Stack) save() error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("save the stack: %w", err)
	}
	return os.WriteFile(filepath.Join(s.Dir, "stack.json"), raw, 0o600)
}

// Load reads the stack in dir.
func Load(dir string) (*Stack, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(filepath.Join(dir, "stack.json"))
	if err != nil {
		return nil, fmt.Errorf("no stack in %s: %w", dir, err)
	}
	s := &Stack{}
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, fmt.Errorf("stack in %s: %w", dir, err)
	}
	s.table = process.Table{Pids: filepath.Join(dir, "pid"), Logs: filepath.Join(dir, "log"), Mark: dir}
	s.Log = func(string, ...any) {}
	return s, s.secrets()
}
