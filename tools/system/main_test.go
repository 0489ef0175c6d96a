//go:build system

package system_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sandbar-io/sandbar/tools/devcluster/cluster"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
	"github.com/sandbar-io/sandbar/tools/internal/repo"
)

// stacksAtOnce is how many tests run at the same time. They mostly wait: for
// AckWait, for a lease to end.
const stacksAtOnce = "4"

// bed is what all tests share. It is set once, before any test runs.
var bed struct {
	root  string // of the repository
	bin   string // the services, with their failpoints in
	image string
	*cluster.State
	kube *kubernetes.Clientset // the admin's
}

func TestMain(m *testing.M) {
	flag.Parse()
	// Listing tests needs no cluster; running even one does.
	if list := flag.Lookup("test.list"); list == nil || list.Value.String() == "" {
		if err := connect(); err != nil {
			fmt.Fprintln(os.Stderr, "system:", err)
			os.Exit(1)
		}
	}
	if err := flag.Set("test.parallel", stacksAtOnce); err != nil {
		fmt.Fprintln(os.Stderr, "system:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func connect() error {
	file := os.Getenv("SANDBAR_ENV")
	if file == "" {
		return errors.New("SANDBAR_ENV is not set: it names the env file that `devstack testbed up` writes (`make test` does both)")
	}
	env, err := stack.ReadEnv(file)
	if err != nil {
		return fmt.Errorf("%w (is the testbed up?)", err)
	}
	for _, name := range []string{"CLUSTER_DIR", "SANDBOX_IMAGE"} {
		if env[name] == "" {
			return fmt.Errorf("%s has no %s: was it written by `devstack testbed up`?", file, name)
		}
	}
	bed.image = env["SANDBOX_IMAGE"]
	if bed.State, err = cluster.Load(env["CLUSTER_DIR"]); err != nil {
		return err
	}
	if bed.root, err = repo.Root(); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", bed.Kubeconfig)
	if err != nil {
		return fmt.Errorf("the cluster's kubeconfig: %w", err)
	}
	config.QPS = -1 // client-go's default of 5 a second would be what the tests measure
	if bed.kube, err = kubernetes.NewForConfig(config); err != nil {
		return fmt.Errorf("the cluster's kubeconfig: %w", err)
	}
	if err := removeOld(context.Background()); err != nil {
		return err
	}
	bed.bin = filepath.Join(bed.root, ".sandbar", "test", "system-bin")
	if err := os.MkdirAll(bed.bin, 0o755); err != nil {
		return err
	}
	return stack.Build(context.Background(), bed.root, bed.bin, true)
}

// removeOld ends what a run that was killed has left, and takes away the logs of
// tests that failed.
func removeOld(ctx context.Context) error {
	failed, err := filepath.Glob(filepath.Join(bed.root, ".sandbar", "test", "failed-system-*"))
	if err != nil {
		return err
	}
	for _, dir := range failed {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	dirs, err := filepath.Glob(filepath.Join(bed.root, ".sandbar", "test", "system-*"))
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		s, err := stack.Load(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the programs
		}
		if err != nil {
			return err
		}
		if err := errors.Join(s.Stop(), stack.Remove(ctx, bed.kube, s.Options)); err != nil {
			return fmt.Errorf("what an earlier run left in %s: %w", dir, err)
		}
	}
	return nil
}
