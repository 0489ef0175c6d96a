package binaries_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"

	"github.com/sandbar-io/sandbar/tools/devcluster/internal/binaries"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func says(t *testing.T, program string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestEnsureBuildsOnceAndAgainWhenThePinChanges(t *testing.T) {
	t.Parallel()
	source := t.TempDir()
	module := filepath.Join(source, "build", "etcd")
	main := func(word string) {
		write(t, filepath.Join(module, "main.go"), "package main\n\nimport \"os\"\n\nfunc main() { os.Stdout.WriteString(\""+word+"\") }\n")
	}
	write(t, filepath.Join(module, "go.mod"), "module example.test/etcd\n\ngo 1.26.0\n")
	write(t, filepath.Join(module, "go.sum"), "")
	main("one")
	var lines []string
	cache := binaries.Cache{Dir: filepath.Join(t.TempDir(), "bin"), Source: source, Log: func(f string, a ...any) { lines = append(lines, fmt.Sprintf(f, a...)) }}
	ensure := func() {
		t.Helper()
		if err := cache.Ensure(t.Context(), binaries.Etcd); err != nil {
			t.Fatal(err)
		}
	}
	ensure()
	if got := says(t, cache.Path(binaries.Etcd)); got != "one" {
		t.Errorf("program says %q", got)
	}
	before := len(lines)
	ensure()
	if len(lines) != before {
		t.Errorf("built again without a reason: %q", lines[before:])
	}
	main("two")
	if missing, err := cache.Missing(binaries.Etcd); err != nil || !slices.Equal(missing, []binaries.Name{binaries.Etcd}) {
		t.Errorf("missing %v, %v", missing, err)
	}
	ensure()
	if got := says(t, cache.Path(binaries.Etcd)); got != "two" {
		t.Errorf("program says %q", got)
	}
}

func TestFailedBuildSaysWhyAndLeavesNoStamp(t *testing.T) {
	t.Parallel()
	source := t.TempDir()
	module := filepath.Join(source, "build", "etcd")
	write(t, filepath.Join(module, "go.mod"), "module example.test/etcd\n\ngo 1.26.0\n")
	write(t, filepath.Join(module, "go.sum"), "")
	write(t, filepath.Join(module, "main.go"), "package main\n\nfunc main() { missing() }\n")
	cache := binaries.Cache{Dir: filepath.Join(t.TempDir(), "bin"), Source: source, Log: func(string, ...any) {}}
	err := cache.Ensure(t.Context(), binaries.Etcd)
	if err == nil || !strings.Contains(err.Error(), "undefined: missing") {
		t.Fatalf("error %v, want the compiler's word", err)
	}
	if missing, err := cache.Missing(binaries.Etcd); err != nil || len(missing) != 1 {
		t.Errorf("missing %v, %v", missing, err)
	}
}

func TestWrap(t *testing.T) {
	t.Parallel()
	upstream := `module k8s.io/kubernetes

go 1.26.0

require k8s.io/api v0.0.0

replace k8s.io/api => ./staging/src/k8s.io/api
`
	raw, err := binaries.Wrap([]byte(upstream), "example.test/kubernetes", "k8s.io/kubernetes", "v1.37.2")
	if err != nil {
		t.Fatal(err)
	}
	file, err := modfile.Parse("go.mod", raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	if file.Module.Mod.Path != "example.test/kubernetes" {
		t.Errorf("module %s", file.Module.Mod.Path)
	}
	if len(file.Replace) != 1 || file.Replace[0].New.Path != "k8s.io/api" || file.Replace[0].New.Version != "v0.37.2" {
		t.Errorf("replaces:\n%s", raw)
	}
	required := slices.ContainsFunc(file.Require, func(r *modfile.Require) bool {
		return r.Mod.Path == "k8s.io/kubernetes" && r.Mod.Version == "v1.37.2"
	})
	if !required {
		t.Errorf("upstream is not required:\n%s", raw)
	}
}
