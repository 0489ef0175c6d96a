// Package stack runs Sandbar's services as processes of their own beside a
// cluster: a NATS server with its users, and so many of each service. `make up`
// and every system test use it.
package stack

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sandbar-io/sandbar/tools/devcluster/cluster"
)

// Options say what to run.
type Options struct {
	Dir     string // state: pids, logs, credentials, NATS' store
	Repo    string // the source
	Cluster *cluster.State

	SystemNamespace  string // Leases and service accounts
	SandboxNamespace string

	Gateways, Provisioners, Watchers, Routers int

	APIPort, RouterPort, NATSPort int // 0: any that is free; the others count up from there

	// Controller leads to the sandboxes in place of routers, where ROUTING_MODE
	// among the settings says so.
	Controller Controller

	// NATSServers is 1, or 3 that replicate all streams.
	NATSServers int
	// NATSConfig is the NATS servers' configuration; empty: that of deploy/.
	NATSConfig string
	// Route stands between two of three servers: it is given who dials whom and
	// where, and says where to dial in place of that. nil: they dial each other.
	Route func(from, to int, address string) (string, error) `json:"-"`

	// Settings are settings of the services, KEY=value; they win over the
	// stack's own defaults, and not over what wires the services together.
	Settings []string
	// Own are settings of one instance, by its name; they win over all others.
	Own map[string][]string
	// Failpoints builds the services with their failpoints in.
	Failpoints bool
	// Bin is a folder that Build has filled, for several stacks to share; empty:
	// the stack builds its own, in Dir.
	Bin string
	// OwnBin are such folders of single instances, by their names: another version
	// beside the rest.
	OwnBin map[string]string
	Log    func(format string, a ...any) `json:"-"`
}

func (o *Options) settle() error {
	var wrong []error
	for _, n := range []struct {
		name  string
		value *int
	}{{"GATEWAYS", &o.Gateways}, {"PROVISIONERS", &o.Provisioners}, {"WATCHERS", &o.Watchers}, {"ROUTERS", &o.Routers}} {
		if *n.value == 0 {
			*n.value = 1
		}
		if *n.value < 0 || *n.value > 8 {
			wrong = append(wrong, fmt.Errorf("%s=%d is not within 1 and 8", n.name, *n.value))
		}
	}
	wrong = append(wrong, o.settleController())
	wrong = append(wrong, o.settleNATS())
	if o.SystemNamespace == "" {
		o.SystemNamespace = defaultSystemNamespace
	}
	if o.SandboxNamespace == "" {
		o.SandboxNamespace = defaultSandboxNamespace
	}
	dir, err := filepath.Abs(o.Dir)
	wrong = append(wrong, err)
	o.Dir = dir
	if o.Log == nil {
		o.Log = func(format string, a ...any) { fmt.Printf("devstack: "+format+"\n", a...) }
	}
	return errors.Join(wrong...)
}

// The namespaces of deploy/.
const (
	defaultSystemNamespace  = "sandbar-system"
	defaultSandboxNamespace = "sandbar-sandboxes"
)

// SettingNames lists the settings of the services, from .env.example.
func SettingNames(repo string) ([]string, error) {
	f, err := os.Open(filepath.Join(repo, ".env.example"))
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	defer f.Close()
	var names []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(lines.Text()), "#"))
		name, _, ok := strings.Cut(line, "=")
		if ok && name != "" && strings.ToUpper(name) == name && !strings.ContainsAny(name, " `(") {
			names = append(names, name)
		}
	}
	return names, lines.Err()
}

// SettingsFrom picks the services' settings from an environment.
func SettingsFrom(repo string, environ []string) ([]string, error) {
	names, err := SettingNames(repo)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, n := range names {
		known[n] = true
	}
	var out []string
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		if !known[name] {
			continue
		}
		// The services run in another folder than the caller.
		if strings.HasSuffix(name, "_FILE") || strings.HasSuffix(name, "_FILES") {
			if value, err = absolute(value); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		out = append(out, name+"="+value)
	}
	return out, nil
}

// absolute makes each path of a list so.
func absolute(paths string) (string, error) {
	if paths == "" {
		return "", nil
	}
	all := strings.Split(paths, ",")
	for i := range all {
		var err error
		if all[i], err = filepath.Abs(strings.TrimSpace(all[i])); err != nil {
			return "", err
		}
	}
	return strings.Join(all, ","), nil
}

// Count reads a count from the environment, 0 where it is not set.
func Count(name string) (int, error) {
	v := os.Getenv(name)
	if v == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		return 0, fmt.Errorf("%s=%q is not a number", name, v)
	}
	return n, nil
}
