package checks_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/tools/checks"
)

// root of the repository, seen from this package.
const root = "../.."

func load(t *testing.T) ([]checks.Module, string) {
	t.Helper()
	modules, version, err := checks.Load(root)
	if err != nil {
		t.Fatal(err)
	}
	return modules, version
}

func report(t *testing.T, problems []string) {
	t.Helper()
	for _, p := range problems {
		t.Error(p)
	}
}

func TestOneVersionPerDependency(t *testing.T) {
	t.Parallel()
	modules, version := load(t)
	report(t, checks.Versions(modules))
	report(t, checks.GoVersions(modules, version))
}

func TestModulesAreWired(t *testing.T) {
	t.Parallel()
	modules, _ := load(t)
	report(t, checks.Replaces(modules))
	report(t, checks.Workspace(modules))
	want := []string{"pkg", "services/gateway", "services/provisioner", "services/router", "services/watcher", "tools"}
	var got []string
	for _, m := range modules {
		if m.InWork {
			got = append(got, m.Dir)
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("go.work uses %v, want %v", got, want)
	}
}

func TestSources(t *testing.T) {
	t.Parallel()
	err := checks.Walk(root, func(path string) error {
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		report(t, checks.Source(filepath.ToSlash(name), text))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestBothBuildModes: the workspace is what we work with, GOWORK=off is what
// ships; each hides mistakes that the other shows.
func TestBothBuildModes(t *testing.T) {
	t.Parallel()
	modules, _ := load(t)
	t.Run("workspace", func(t *testing.T) {
		t.Parallel()
		build(t, root, "", "work")
	})
	for _, m := range modules {
		if !m.InWork || !m.HasGo {
			continue
		}
		t.Run(m.Name(), func(t *testing.T) {
			t.Parallel()
			build(t, m.Path(), "off", "./...")
		})
	}
}

func build(t *testing.T, dir, work, pattern string) {
	t.Helper()
	// To the null device: a pattern that names one main only would leave its binary here.
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", os.DevNull, pattern)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK="+work)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("GOWORK=%s go build %s in %s: %v\n%s", work, pattern, dir, err, out)
	}
}
