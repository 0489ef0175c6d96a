//go:build robustness

package robustness_test

import (
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/robustness"
)

// Defaults of a run, as `make test` has it.
const (
	defaultSeed     = "1"
	defaultDuration = "3m"
)

func setting(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// TestRandomFaults: random traffic and random faults, and no promise is broken.
// The report and the whole history stay in .sandbar/robustness.
func TestRandomFaults(t *testing.T) {
	cluster := os.Getenv("SANDBAR_ROBUSTNESS_CLUSTER")
	if cluster == "" {
		t.Fatal("SANDBAR_ROBUSTNESS_CLUSTER is not set: it names the folder of a cluster with simulated nodes (`make robustness` brings one up)")
	}
	seed, err := strconv.ParseUint(setting("SANDBAR_SEED", defaultSeed), 10, 64)
	if err != nil {
		t.Fatalf("SANDBAR_SEED: %v", err)
	}
	duration, err := time.ParseDuration(setting("SANDBAR_DURATION", defaultDuration))
	if err != nil {
		t.Fatalf("SANDBAR_DURATION: %v", err)
	}
	repo, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(repo, ".sandbar", "robustness", "seed-"+strconv.FormatUint(seed, 10))
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt) // it heals and takes down what it made
	defer stop()
	found, err := robustness.Run(ctx, robustness.Options{
		Repo: repo, Cluster: cluster, Dir: dir, Seed: seed, Duration: duration, Log: t.Logf,
	})
	if err != nil {
		t.Fatalf("%v; what was recorded is in %s", err, dir)
	}
	text, err := os.ReadFile(filepath.Join(dir, "report.txt"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s\nthe whole history is in %s", text, dir)
	if n := len(found.Violations); n > 0 {
		t.Errorf("%d violations; SEED=%d repeats the plan", n, seed)
	}
	if len(found.Faults) == 0 || found.Operations == 0 {
		t.Errorf("%d operations and %d kinds of faults: nothing was tried", found.Operations, len(found.Faults))
	}
}
