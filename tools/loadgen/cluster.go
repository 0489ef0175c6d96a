package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/sandbar-io/sandbar/tools/devcluster/cluster"
)

// instance is the control plane's, where SANDBAR_INSTANCE says none: one that
// neither `make up`, nor any phase of the tests, nor `make mutants` has.
const instance = "8"

// controlPlane brings a real API server up, and returns its folder and what ends it.
func controlPlane(ctx context.Context, root string, say func(string, ...any)) (dir string, down func() error, err error) {
	dir = filepath.Join(root, ".sandbar", "bench", "cluster")
	n := os.Getenv("SANDBAR_INSTANCE")
	if n == "" {
		n = instance
	}
	command := func(ctx context.Context, args ...string) error {
		cmd := exec.CommandContext(ctx, "go", append([]string{"run", "./devcluster"}, append(args, "-dir", dir, "-instance", n)...)...)
		cmd.Dir = filepath.Join(root, "tools")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("devcluster %s: %w\n%s", args[0], err, out)
		}
		return nil
	}
	down = func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
		defer cancel()
		return command(ctx, "down")
	}
	if _, err := cluster.Load(dir); err == nil { // left by a run that was killed
		if err := down(); err != nil {
			return "", nil, err
		}
	}
	say("brings a control plane up; the first time Kubernetes is built, which takes a quarter of an hour")
	if err := command(ctx, "up", "-control-plane-only"); err != nil {
		return "", nil, err
	}
	return dir, down, nil
}
