//go:build system

package deploytest_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/kubernetes"

	"github.com/sandbar-io/sandbar/tools/devcluster/cluster"
)

// bed is the testbed. It is set once, before any test runs.
var bed struct {
	root         string // of the repository
	sandboxImage string
	*cluster.State
	kube *kubernetes.Clientset // the admin's
}

func TestMain(m *testing.M) {
	flag.Parse()
	// Listing tests needs no cluster; running even one does.
	if list := flag.Lookup("test.list"); list == nil || list.Value.String() == "" {
		if err := connect(); err != nil {
			fmt.Fprintln(os.Stderr, "deploytest:", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func connect() error {
	file := os.Getenv("SANDBAR_ENV")
	if file == "" {
		return errors.New("SANDBAR_ENV is not set: it names the env file that `devstack testbed up` writes (`make test` does both)")
	}
	env, err := readEnv(file)
	if err != nil {
		return err
	}
	for _, name := range []string{"CLUSTER_DIR", "SANDBOX_IMAGE"} {
		if env[name] == "" {
			return fmt.Errorf("%s has no %s: was it written by `devstack testbed up`?", file, name)
		}
	}
	bed.sandboxImage = env["SANDBOX_IMAGE"]
	if bed.State, err = cluster.Load(env["CLUSTER_DIR"]); err != nil {
		return err
	}
	if len(bed.RealNodes) == 0 || !bed.KubeProxy {
		return fmt.Errorf("the cluster in %s has no real node, or no kube-proxy: Services lead nowhere there", env["CLUSTER_DIR"])
	}
	if bed.root, err = filepath.Abs(filepath.Join("..", "..")); err != nil {
		return err
	}
	bed.kube, err = cluster.Client(bed.Kubeconfig)
	return err
}

// readEnv reads lines of KEY=value.
func readEnv(path string) (map[string]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("env file: %w", err)
	}
	defer func() { _ = file.Close() }() // only read
	env := map[string]string{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), "="); ok {
			env[name] = value
		}
	}
	return env, lines.Err()
}

// must is for calls whose failure ends the test: must(f()).or(t).
func must[T any](value T, err error) result[T] { return result[T]{value, err} }

type result[T any] struct {
	value T
	err   error
}

func (r result[T]) or(t *testing.T) T {
	t.Helper()
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.value
}

// detached is for what must happen though the test has ended.
func detached(t *testing.T) context.Context { return context.WithoutCancel(t.Context()) }
