package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/sandbar-io/sandbar/pkg/settings"
	"github.com/sandbar-io/sandbar/tools/devcluster/cluster"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// testInstance keeps the testbed's cluster apart from make up's, unless
// SANDBAR_INSTANCE names another.
const testInstance = 1

// The stacks of the testbed, by the folder of their state. main has two of each
// service, and three gateways, on the real node; simulated has kwok's nodes, for
// scale; path is in path mode on the real node, and tls speaks TLS there; to the
// sandboxes of the others a controller leads.
var testStacks = []string{"main", "simulated", "path", tlsStack, ingressStack, gatewayStack}

func (b bed) testbedUp(ctx context.Context) error {
	o, err := cluster.Defaults()
	if err != nil {
		return err
	}
	o.Dir, o.Instance, o.Nodes, o.SimulatedNodes = b.path("test", "cluster"), cmp.Or(o.Instance, testInstance), cluster.Both, 24
	o.KubeProxy = true // tools/deploytest reaches the services by their Services
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
	keysFile, plain, err := b.testKeys()
	if err != nil {
		return err
	}
	configs, err := b.testConfigs(sandboxImage)
	if err != nil {
		return err
	}
	stacks := map[string]*stack.Stack{}
	for _, name := range testStacks {
		so := stack.Options{
			Dir: b.path("test", name), Repo: b.root, Cluster: c, Log: b.say, Failpoints: true,
			SystemNamespace: name + "-system", SandboxNamespace: name + "-sandboxes",
			Settings: append(stack.Placement(name != "simulated"), "API_KEYS_FILE="+keysFile, "ALLOW_ROOT=true"),
		}
		switch name {
		case "main":
			so.Gateways, so.Provisioners, so.Watchers = 3, 2, 2
			so.Settings = append(so.Settings, "WARM_RUNTIME_CONFIGS_FILE="+configs, "LEASE_DURATION=5s", "LEASE_RENEW=3s", "LEASE_RETRY=500ms")
		case "path":
			so.Settings = append(so.Settings, "RUNTIME_ROUTING_MODE=path")
		case tlsStack:
			err = b.secureStack(&so)
		case ingressStack:
			err = b.controlled(ctx, o, settings.ByIngress, &so)
		case gatewayStack:
			err = b.controlled(ctx, o, settings.ByGatewayAPI, &so)
		}
		if err != nil {
			return fmt.Errorf("stack %s: %w", name, err)
		}
		b.say("starting the %s stack", name)
		if stacks[name], err = stack.Start(ctx, so); err != nil {
			return fmt.Errorf("stack %s: %w", name, err)
		}
	}
	env := stacks["main"].Env(sandboxImage)
	plain["default"] = env["API_KEY"]
	named, err := json.Marshal(plain)
	if err != nil {
		return err
	}
	env["API_KEYS"] = string(named)
	var urls []string
	for _, g := range stacks["main"].Of("gateway") {
		urls = append(urls, g.URL)
	}
	env["API_URLS"] = strings.Join(urls, ",")
	env["STACK_DIR"] = stacks["main"].Dir
	env["CLUSTER_DIR"] = b.path("test", "cluster")
	for prefix, name := range map[string]string{"SIMULATED": "simulated", "PATH": "path"} {
		e := stacks[name].Env(sandboxImage)
		env[prefix+"_API_URL"], env[prefix+"_ROUTER_URL"] = e["API_URL"], e["ROUTER_URL"]
		env[prefix+"_NAMESPACE"], env[prefix+"_API_KEY"] = e["NAMESPACE"], e["API_KEY"]
	}
	b.secureEnv(env, stacks[tlsStack])
	controlledEnv(env, "INGRESS", stacks[ingressStack])
	controlledEnv(env, "GATEWAYAPI", stacks[gatewayStack])
	if err := stack.WriteEnv(b.path("test", "env"), env); err != nil {
		return err
	}
	b.say("the testbed is up: %s", b.path("test", "env"))
	return nil
}

// testTenants are keys with limits or clocks, each in a tenant of its own.
var testTenants = map[string]string{
	"limited": "limits: {sandboxes: 10}",
	"single":  "limits: {sandboxes: 1}",
	"narrow":  "limits: {cpu: 150m, memory: 1Gi}", // three sandboxes of 50m and 64Mi
	"lean":    "limits: {memory: 200Mi}",          // three as well
	"hurried": "limits: {starts_per_minute: 3}",
	"clocked": "lifecycle: {idle_seconds: 15, max_age_seconds: 20, retention_seconds: 10}",
	"fixed":   "lifecycle: {max_age_seconds: 20}\n    lifecycle_fixed: true",
}

// testKeys writes the keys file of the testbed: another tenant, a key whose
// session keys are rotated, one that is told of a resume of what runs, and those
// with limits or clocks.
func (b bed) testKeys() (file string, plain map[string]string, err error) {
	plain = map[string]string{"other": stack.NewAPIKey(), "rotating": stack.NewAPIKey(), "strict": stack.NewAPIKey()}
	for name := range testTenants {
		plain[name] = stack.NewAPIKey()
	}
	var text strings.Builder
	text.WriteString("keys:\n")
	for _, name := range slices.Sorted(maps.Keys(plain)) {
		tenant, options := "default", ""
		switch name {
		case "other":
			tenant = "other"
		case "rotating":
			options = "    rotate_on_resume: true\n"
		case "strict":
			options = "    resume_active: 409\n"
		}
		if own, ok := testTenants[name]; ok {
			tenant, options = name, "    "+own+"\n"
		}
		fmt.Fprintf(&text, "  - name: %s\n    sha256: %s\n    tenant: %s\n%s", name, stack.HashAPIKey(plain[name]), tenant, options)
	}
	file = b.path("test", "keys.yaml")
	return file, plain, os.WriteFile(file, []byte(text.String()), 0o600)
}

// testConfigs writes the warm-runtime configs of the testbed: the image's own
// command, and one that is given.
func (b bed) testConfigs(image string) (file string, err error) {
	file = b.path("test", "warm-runtime-configs.yaml")
	return file, os.WriteFile(file, fmt.Appendf(nil, `configs:
  - {name: v1_current, image: %[1]q, command: null, working_dir: /workspace, environment: {OFFERED: "1", EMPTY: ""}}
  - {name: with-command, image: %[1]q, command: [/agent, --port, "60000"], working_dir: /, run_as_user: 10001, fs_group: 10001}
`, image), 0o600)
}

func (b bed) testbedDown(ctx context.Context) error {
	var errs []error
	for _, name := range testStacks {
		if s, err := stack.Load(b.path("test", name)); err == nil {
			errs = append(errs, s.Stop())
		}
	}
	o, err := cluster.Defaults()
	if err != nil {
		return err
	}
	o.Dir, o.Instance = b.path("test", "cluster"), cmp.Or(o.Instance, testInstance)
	errs = append(errs, cluster.Down(ctx, o))
	return errors.Join(errs...)
}
