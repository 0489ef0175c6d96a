package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/sandbar-io/sandbar/pkg/settings"
	"github.com/sandbar-io/sandbar/tools/devcluster/cluster"
	"github.com/sandbar-io/sandbar/tools/devcluster/image"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// bed is the machine's state folder and where to print.
type bed struct {
	root string
	out  io.Writer
}

func (b bed) say(format string, a ...any) { fmt.Fprintf(b.out, "devstack: "+format+"\n", a...) }

func (b bed) path(parts ...string) string {
	return filepath.Join(append([]string{b.root, ".sandbar"}, parts...)...)
}

// Ports of make up, so that its URLs are the same every time.
const (
	apiPort    = 8000 // not 5000: the registry has that on the bridge
	routerPort = 8080
	natsPort   = 4222
)

// portsOf are those of an instance (SANDBAR_INSTANCE). Up to 8 gateways and routers
// count up from theirs.
func portsOf(instance int) (api, router, nats int) {
	above := 100 * instance // more than lies between the API and the router
	return apiPort + above, routerPort + above, natsPort + above
}

func (b bed) up(ctx context.Context) error {
	o, err := cluster.Defaults()
	if err != nil {
		return err
	}
	o.Dir = b.path("cluster")
	if err := cluster.Up(ctx, o); err != nil {
		return err
	}
	c, err := cluster.Load(o.Dir)
	if err != nil {
		return err
	}
	sandboxImage, err := b.push(ctx, c.Registry)
	if err != nil {
		return err
	}
	own, err := stack.SettingsFrom(b.root, os.Environ())
	if err != nil {
		return err
	}
	api, router, nats := portsOf(o.Instance)
	so := stack.Options{
		Dir: b.path("stack"), Repo: b.root, Cluster: c, Log: b.say,
		APIPort: api, RouterPort: router, NATSPort: nats,
		Settings: append(stack.Placement(len(c.RealNodes) > 0), own...),
	}
	if so.Controller, err = controller(ctx, o, own); err != nil {
		return err
	}
	var errs [5]error
	so.Gateways, errs[0] = stack.Count("GATEWAYS")
	so.Provisioners, errs[1] = stack.Count("PROVISIONERS")
	so.Watchers, errs[2] = stack.Count("WATCHERS")
	so.Routers, errs[3] = stack.Count("ROUTERS")
	so.NATSServers, errs[4] = stack.Count("NATS_SERVERS")
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	if old, err := stack.Load(so.Dir); err == nil {
		if err := old.Stop(); err != nil {
			return err
		}
	}
	b.say("building and starting NATS and the services")
	s, err := stack.Start(ctx, so)
	if err != nil {
		return err
	}
	env := s.Env(sandboxImage)
	if err := stack.WriteEnv(b.path("env"), env); err != nil {
		return err
	}
	fmt.Fprint(b.out, howTo(env))
	return nil
}

// push builds the image of the test sandboxes and pushes it to a registry.
func (b bed) push(ctx context.Context, registry string) (string, error) {
	root := b.path("agentstub")
	first := filepath.Join(root, stubPaths[0])
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", first, "./agentstub")
	cmd.Dir = filepath.Join(b.root, "tools")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build agentstub: %w\n%s", err, out)
	}
	for _, path := range stubPaths[1:] {
		link := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
			return "", fmt.Errorf("lay out the image: %w", err)
		}
		if err := os.Symlink(stubPaths[0], link); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("lay out the image: %w", err)
		}
	}
	return image.Push(ctx, registry, image.Spec{Name: "agentstub", Root: root, Entrypoint: stubPaths[:1], User: "10001:10001"})
}

// stubPaths are the names by which clients call the agent server.
var stubPaths = []string{
	"/usr/local/bin/openhands-agent-server",
	"/agent-server/.venv/bin/python",
	"/openhands/micromamba/bin/micromamba",
	"/agentstub",
}

func (b bed) images(ctx context.Context) error {
	c, err := cluster.Load(b.path("cluster"))
	if err != nil {
		return err
	}
	ref, err := b.push(ctx, c.Registry)
	if err != nil {
		return err
	}
	b.say("pushed %s", ref)
	return nil
}

func (b bed) down(ctx context.Context) error {
	var errs []error
	if s, err := stack.Load(b.path("stack")); err == nil {
		errs = append(errs, s.Stop())
	}
	errs = append(errs, os.RemoveAll(b.path("stack")), os.RemoveAll(b.path("env")))
	o, err := cluster.Defaults()
	if err != nil {
		return err
	}
	o.Dir = b.path("cluster")
	return errors.Join(append(errs, cluster.Down(ctx, o))...)
}

func (b bed) status(ctx context.Context) error {
	o, err := cluster.Defaults()
	if err != nil {
		return err
	}
	o.Dir = b.path("cluster")
	if err := cluster.Status(ctx, o, b.out); err != nil {
		return err
	}
	s, err := stack.Load(b.path("stack"))
	if err != nil {
		b.say("the services are down")
		return nil
	}
	for _, name := range s.Processes() {
		state := "down"
		if s.Running(name) {
			state = "up"
		}
		fmt.Fprintf(b.out, "%-16s %-5s %s\n", name, state, s.LogPath(name))
	}
	return nil
}

func (b bed) logs(ctx context.Context, args []string) error {
	s, err := stack.Load(b.path("stack"))
	if err != nil {
		return err
	}
	if len(args) == 0 {
		for _, name := range s.Processes() {
			fmt.Fprintf(b.out, "%-16s %s\n", name, s.LogPath(name))
		}
		return nil
	}
	cmd := exec.CommandContext(ctx, "tail", "-n", "100", "-F", s.LogPath(args[0]))
	cmd.Stdout, cmd.Stderr = b.out, b.out
	return cmd.Run()
}

// controller is what leads to sandboxes where ROUTING_MODE is not the router's. It
// takes the certificate that the router would take.
func controller(ctx context.Context, o cluster.Options, set []string) (stack.Controller, error) {
	value := func(name string) string {
		out := ""
		for _, s := range set {
			if n, v, _ := strings.Cut(s, "="); n == name {
				out = v
			}
		}
		return out
	}
	if mode := value("ROUTING_MODE"); mode == "" || mode == settings.ByRouter {
		return stack.Controller{}, nil
	}
	if o.Nodes == cluster.Simulated {
		return stack.Controller{}, errors.New("ROUTING_MODE needs a real node: behind simulated ones nobody answers to a controller")
	}
	path, err := cluster.Traefik(ctx, o)
	if err != nil {
		return stack.Controller{}, err
	}
	c := stack.Controller{Traefik: path, CA: value("ROUTE_CHECK_CA_FILE")}
	if value("URL_SCHEME") == "https" {
		// The gateway reads them too; without a router the controller does in its place.
		c.Cert, c.Key = value("TLS_CERT_FILE"), value("TLS_KEY_FILE")
		if c.Cert == "" || c.Key == "" {
			return c, errors.New("URL_SCHEME=https needs TLS_CERT_FILE and TLS_KEY_FILE")
		}
		if c.CA == "" {
			c.CA = c.Cert // self-signed, or its chain
		}
	}
	return c, nil
}

func howTo(env map[string]string) string {
	scheme, port, _ := strings.Cut(env["ROUTER_URL"], "://127.0.0.1")
	return fmt.Sprintf(`
Sandbar is up.

  API     %[1]s
  key     %[2]s
  router  %[3]s

Paste these:

  curl -s%[7]s -H 'X-API-Key: %[2]s' -d '{"image":"%[4]s","session_id":"demo","run_as_user":10001,"fs_group":10001}' %[1]s/start
  curl -s%[7]s -H 'X-API-Key: %[2]s' %[1]s/sessions/demo
  curl -s%[7]s %[6]s://demo.%[5]s/alive

The same and more stands in .sandbar/env; make down ends all.
`, env["API_URL"], env["API_KEY"], env["ROUTER_URL"], env["SANDBOX_IMAGE"],
		env["BASE_DOMAIN"]+port, scheme, insecure(scheme))
}

// insecure is curl's flag for a certificate that this machine does not know.
func insecure(scheme string) string {
	if scheme == "https" {
		return " -k"
	}
	return ""
}
