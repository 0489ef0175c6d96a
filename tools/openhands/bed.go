package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"github.com/sandbar-io/sandbar/tools/devcluster/cluster"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
	"github.com/sandbar-io/sandbar/tools/openhands/internal/rootfs"
)

// instance keeps this cluster apart from those of make up, the testbed and the
// control plane of the tests, unless SANDBAR_INSTANCE names another.
const instance = 3

// set is the set of Python packages that is both in the sandboxes and the client.
const set = "sdk"

// bed is what the tests run on.
type bed struct {
	repo  string
	cache rootfs.Cache
	say   func(format string, a ...any)
}

func (b bed) path(parts ...string) string {
	return filepath.Join(append([]string{b.repo, ".sandbar", "openhands"}, parts...)...)
}

// cluster is one real node; its state lies in the bed's folder.
func (b bed) cluster() (cluster.Options, error) {
	o, err := cluster.Defaults()
	if err != nil {
		return o, err
	}
	o.Dir, o.Instance, o.Nodes, o.RealNodes = b.path("cluster"), cmp.Or(o.Instance, instance), cluster.Real, 1
	return o, nil
}

// resources are of one sandbox: an agent server alone takes 300 MiB, with its
// terminal and a conversation 400. It starts by five seconds of one CPU, so ten that
// start at once share what there is; none waits for a CPU of its own.
var resources = []string{"CPU_REQUEST=50m", "CPU_LIMIT=2", "MEMORY_REQUEST=512Mi", "MEMORY_LIMIT=1Gi"}

func (b bed) up(ctx context.Context) error {
	folders := map[string]string{}
	var err error
	if folders["ROOT"], err = b.cache.Root(ctx); err != nil {
		return err
	}
	for _, name := range rootfs.Sets() {
		if folders["PACKAGES_"+name], err = b.cache.Packages(ctx, name); err != nil {
			return err
		}
	}
	o, err := b.cluster()
	if err != nil {
		return err
	}
	if err := cluster.Up(ctx, o); err != nil {
		return err
	}
	c, err := cluster.Load(o.Dir)
	if err != nil {
		return err
	}
	b.say("pushing the images of the agent server and of the legacy client's server")
	image, err := b.cache.Push(ctx, c.Registry, set)
	if err != nil {
		return err
	}
	legacy, err := b.cache.Push(ctx, c.Registry, rootfs.Legacy)
	if err != nil {
		return err
	}
	keysFile, keys, err := b.keys()
	if err != nil {
		return err
	}
	if old, err := stack.Load(b.path("stack")); err == nil {
		if err := old.Stop(); err != nil {
			return err
		}
	}
	settings := append(stack.Placement(true), resources...)
	b.say("building and starting NATS and the services")
	s, err := stack.Start(ctx, stack.Options{
		Dir: b.path("stack"), Repo: b.repo, Cluster: c, Log: b.say,
		Settings: append(settings, "API_KEYS_FILE="+keysFile),
	})
	if err != nil {
		return err
	}
	env := s.Env(image)
	maps.Copy(env, keys)
	env["LEGACY_IMAGE"] = legacy
	env["HOST_IP"], env["RESOLV_CONF"] = c.HostIP, c.ResolvConf
	for name, folder := range folders {
		env[name] = folder
	}
	if err := stack.WriteEnv(b.path("env"), env); err != nil {
		return err
	}
	b.say("up: %s", b.path("env"))
	return nil
}

// keys writes a keys file with two more keys of the default tenant: one whose session
// keys are rotated on resume, and one whose sandboxes are soon idle. It returns the
// variables that hold them.
func (b bed) keys() (file string, env map[string]string, err error) {
	file = b.path("keys.yaml")
	env = map[string]string{"ROTATING_API_KEY": stack.NewAPIKey(), "IDLE_API_KEY": stack.NewAPIKey()}
	const text = `keys:
  - {name: rotating, sha256: %s, tenant: default, rotate_on_resume: true}
  - {name: idle, sha256: %s, tenant: default, lifecycle: {idle_seconds: 30}}
`
	return file, env, os.WriteFile(file,
		fmt.Appendf(nil, text, stack.HashAPIKey(env["ROTATING_API_KEY"]), stack.HashAPIKey(env["IDLE_API_KEY"])), 0o600)
}

func (b bed) down(ctx context.Context) error {
	var errs []error
	if s, err := stack.Load(b.path("stack")); err == nil {
		errs = append(errs, s.Stop())
	}
	o, err := b.cluster()
	if err != nil {
		return err
	}
	return errors.Join(append(errs, cluster.Down(ctx, o), os.RemoveAll(b.path("env")))...)
}
