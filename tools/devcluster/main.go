// Command devcluster brings a real Kubernetes up on one machine, from Go
// modules, for development and for the tests.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/sandbar-io/sandbar/tools/devcluster/cluster"
)

const usage = `usage: devcluster COMMAND [flags]

  up            bring the cluster up (and install and build what that needs)
  down          end it and remove all it made; fails if anything is left
  status        what runs
  kubectl ...   kubectl as the cluster's admin
  image build   make an image from a static binary or a folder, push it, print its reference
  binaries      only build Kubernetes, etcd, kwok and Traefik
  modules NAME [VERSION]   pin kubernetes, etcd, kwok or traefik anew in build/

Flags and their environment variables: devcluster COMMAND --help
`

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	command, ok := commands[args[0]]
	if !ok {
		fmt.Fprint(stderr, usage)
		if slices.Contains([]string{"help", "-h", "--help"}, args[0]) {
			return 0
		}
		return 2
	}
	err := command(ctx, args[1:], stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "devcluster:", err)
		return 1
	}
	return 0
}

var commands = map[string]func(ctx context.Context, args []string, out io.Writer) error{
	"up": func(ctx context.Context, args []string, out io.Writer) error {
		o, _, err := parse("up", args, out, nil)
		if err != nil {
			return err
		}
		return cluster.Up(ctx, o)
	},
	"down": func(ctx context.Context, args []string, out io.Writer) error {
		o, _, err := parse("down", args, out, nil)
		if err != nil {
			return err
		}
		return cluster.Down(ctx, o)
	},
	"status": func(ctx context.Context, args []string, out io.Writer) error {
		o, _, err := parse("status", args, out, nil)
		if err != nil {
			return err
		}
		return cluster.Status(ctx, o, out)
	},
	"binaries": func(ctx context.Context, args []string, out io.Writer) error {
		o, _, err := parse("binaries", args, out, nil)
		if err != nil {
			return err
		}
		return cluster.Build(ctx, o)
	},
	"modules": func(ctx context.Context, args []string, out io.Writer) error {
		o, rest, err := parse("modules", args, out, nil)
		if err != nil {
			return err
		}
		if len(rest) == 0 || len(rest) > 2 {
			return errors.New("modules: say which: kubernetes, etcd, kwok or traefik, and perhaps a version")
		}
		return cluster.Pin(ctx, o, rest[0], append(rest, "")[1])
	},
	"serve": func(ctx context.Context, args []string, out io.Writer) error { // of up, in the background
		o, _, err := parse("serve", args, out, nil)
		if err != nil {
			return err
		}
		return cluster.Serve(ctx, o.Dir)
	},
	"kubectl": kubectl,
	"image":   buildImage,
}

// parse reads the flags that all commands share, and those that more adds.
func parse(name string, args []string, out io.Writer, more func(*flag.FlagSet)) (cluster.Options, []string, error) {
	o, err := cluster.Defaults()
	if err != nil {
		return o, nil, err
	}
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&o.Dir, "dir", o.Dir, "folder of the cluster (SANDBAR_CLUSTER_DIR)")
	flags.IntVar(&o.Instance, "instance", o.Instance, "0 to 9; clusters of different instances live side by side (SANDBAR_INSTANCE)")
	if name == "up" {
		flags.StringVar((*string)(&o.Nodes), "nodes", string(o.Nodes), "real, simulated or both (NODES)")
		flags.IntVar(&o.RealNodes, "real-nodes", o.RealNodes, "number of real nodes")
		flags.IntVar(&o.SimulatedNodes, "simulated-nodes", o.SimulatedNodes, "number of simulated nodes")
		flags.BoolVar(&o.KubeProxy, "kube-proxy", o.KubeProxy, "run kube-proxy on real nodes: Services on their cluster IPs")
		flags.BoolVar(&o.ControlPlaneOnly, "control-plane-only", o.ControlPlaneOnly, "etcd, API server and controller manager, nothing else")
		flags.StringVar(&o.BaseDomain, "base-domain", o.BaseDomain, "all names below it resolve to this machine (BASE_DOMAIN)")
	}
	if more != nil {
		more(flags)
	}
	if err := flags.Parse(args); err != nil {
		return o, nil, err
	}
	return o, flags.Args(), nil
}
