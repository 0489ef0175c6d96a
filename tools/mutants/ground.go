package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// ground is what the tests of a layer stand on.
type ground struct {
	tags  string
	given string // variable that names it; where it is set, somebody has made it already
	up    []string
	down  []string
	at    string // what given is set to then
	limit string // of the tests of one package: a bug may make them wait for what never comes
	env   []string
	// builds: the tests build the product by themselves, and are to judge it without the bug.
	builds bool
}

// Folders and instances of the clusters; the instances are none that `make test` has.
const (
	clusterDir        = ".sandbar/test/mutants"
	clusterInstance   = "9"
	simulatedDir      = ".sandbar/test/mutants-simulated"
	simulatedInstance = "7"
	upLimit           = 40 * time.Minute // cold, it builds Kubernetes
	downLimit         = 2 * time.Minute
)

// randomSeed is none that people use, whose record would be overwritten.
const randomSeed = "900"

func grounds() map[string]ground {
	controlPlane := cmp.Or(os.Getenv("SANDBAR_INSTANCE"), clusterInstance)
	devcluster := func(what, dir, instance string, more ...string) []string {
		return append([]string{"go", "run", "./devcluster", what, "-dir", "../" + dir, "-instance", instance}, more...)
	}
	return map[string]ground{
		"unit": {limit: "3m"},
		"apiserver": {
			tags: "apiserver", given: "SANDBAR_TEST_KUBECONFIG", at: clusterDir + "/kubeconfig", limit: "3m",
			up:   devcluster("up", clusterDir, controlPlane, "-control-plane-only"),
			down: devcluster("down", clusterDir, controlPlane),
		},
		"random": {
			tags: "robustness", given: "SANDBAR_ROBUSTNESS_CLUSTER", at: simulatedDir, limit: "15m", builds: true,
			env:  []string{"SANDBAR_SEED=" + randomSeed, "SANDBAR_DURATION=3m"},
			up:   devcluster("up", simulatedDir, simulatedInstance, "-nodes", "simulated", "-simulated-nodes", "6"),
			down: devcluster("down", simulatedDir, simulatedInstance),
		},
	}
}

// grounded is what was made for a run.
type grounded struct {
	root string
	env  []string
	made []ground
}

// prepare makes what the tests of these bugs need.
func prepare(ctx context.Context, root string, all []bug, out io.Writer) (*grounded, error) {
	g := &grounded{root: root}
	begun := map[string]bool{}
	for _, b := range all {
		for _, c := range b.caught {
			need, known := grounds()[c.layer]
			if !known {
				return g, fmt.Errorf("%s: no layer %q", b.name, c.layer)
			}
			if begun[c.layer] || need.given == "" || os.Getenv(need.given) != "" {
				continue
			}
			begun[c.layer] = true
			fmt.Fprintf(out, "the layer %s comes up\n", c.layer)
			g.made = append(g.made, need)
			if err := g.command(ctx, upLimit, need.up); err != nil {
				g.end(out)
				return g, err
			}
			g.env = append(g.env, need.given+"="+filepath.Join(root, need.at))
		}
	}
	return g, nil
}

// end takes down what prepare made, after a Ctrl-C too.
func (g *grounded) end(out io.Writer) {
	for _, made := range g.made {
		if err := g.command(context.Background(), downLimit, made.down); err != nil {
			fmt.Fprintln(out, "mutants:", err)
		}
	}
	g.made = nil
}

func (g *grounded) command(ctx context.Context, limit time.Duration, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = filepath.Join(g.root, "tools")
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("%v: %w", args, err), errors.New(string(out)))
	}
	return nil
}
