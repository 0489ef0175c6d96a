package sysctl_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/tools/devcluster/internal/sysctl"
)

type kernel struct {
	t    *testing.T
	root string
}

func newKernel(t *testing.T, settings map[string]string) (kernel, sysctl.Ledger) {
	t.Helper()
	k := kernel{t, t.TempDir()}
	for name, value := range settings {
		k.set(name, value)
	}
	return k, sysctl.Ledger{Path: filepath.Join(t.TempDir(), "ledger.json"), Root: k.root}
}

func (k kernel) file(name string) string {
	return filepath.Join(k.root, strings.ReplaceAll(name, ".", "/"))
}

func (k kernel) set(name, value string) {
	k.t.Helper()
	if err := os.MkdirAll(filepath.Dir(k.file(name)), 0o755); err != nil {
		k.t.Fatal(err)
	}
	if err := os.WriteFile(k.file(name), []byte(value+"\n"), 0o600); err != nil {
		k.t.Fatal(err)
	}
}

func (k kernel) want(name, value string) {
	k.t.Helper()
	raw, err := os.ReadFile(k.file(name))
	if err != nil {
		k.t.Fatal(err)
	}
	if got := strings.TrimSpace(string(raw)); got != value {
		k.t.Errorf("%s = %s, want %s", name, got, value)
	}
}

func always(string) bool { return true }

func TestLastClusterRestoresWhatTheFirstFound(t *testing.T) {
	t.Parallel()
	k, ledger := newKernel(t, map[string]string{"kernel.panic": "1", "fs.inotify.max_user_instances": "128"})
	hold := func(who string) {
		if err := ledger.Hold(who); err != nil {
			t.Fatal(err)
		}
	}
	release := func(who string) {
		if err := ledger.Release(who, always); err != nil {
			t.Fatal(err)
		}
	}
	hold("a")
	k.want("fs.inotify.max_user_instances", "1024")
	k.set("kernel.panic", "10") // as a kubelet does
	hold("b")
	release("a")
	k.want("kernel.panic", "10")
	k.want("fs.inotify.max_user_instances", "1024")
	release("b")
	k.want("kernel.panic", "1")
	k.want("fs.inotify.max_user_instances", "128")
	if _, err := os.Stat(ledger.Path); !os.IsNotExist(err) {
		t.Errorf("the ledger stays: %v", err)
	}
	release("b") // twice is fine
}

func TestClusterThatVanishedHoldsNothing(t *testing.T) {
	t.Parallel()
	k, ledger := newKernel(t, map[string]string{"vm.overcommit_memory": "0"})
	for _, who := range []string{"vanished", "alive"} {
		if err := ledger.Hold(who); err != nil {
			t.Fatal(err)
		}
	}
	k.set("vm.overcommit_memory", "1")
	if err := ledger.Release("alive", func(who string) bool { return who != "vanished" }); err != nil {
		t.Fatal(err)
	}
	k.want("vm.overcommit_memory", "0")
}

func TestLimitAboveOursIsKept(t *testing.T) {
	t.Parallel()
	k, ledger := newKernel(t, map[string]string{"fs.inotify.max_user_instances": "8192"})
	if err := ledger.Hold("a"); err != nil {
		t.Fatal(err)
	}
	k.want("fs.inotify.max_user_instances", "8192")
}
