package checks_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/tools/checks"
)

func TestPoints(t *testing.T) {
	t.Parallel()
	got, err := checks.Points("a.go", `package a
func f() {
	failpoint.Hit(ctx, "a/one")
	if err := failpoint.After(ctx, "a/two", g()); err != nil {}
	failpoint.HitOf(ctx, "a/three", verb)
	failpoint.Hit(ctx, "a/one")
	other.Hit(ctx, "a/four")
}`)
	if want := []string{"a/one", "a/three", "a/two"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if _, err := checks.Points("a.go", `package a
func f() { failpoint.Hit(ctx, "a/"+name) }`); err == nil {
		t.Error("a point whose name nobody can read is no problem")
	}
}

// points are all of the repository.
func points(t *testing.T) (all []string) {
	t.Helper()
	err := checks.Walk(root, func(path string) error {
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "testdata") {
			return nil
		}
		some, err := checks.Points(path, nil)
		all = append(all, some...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	if all = slices.Compact(all); len(all) < 20 {
		t.Fatalf("only %q", all)
	}
	return all
}

// TestPointsAreListed: docs/testing.md names each point, and no other.
func TestPointsAreListed(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "docs", "testing.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## 4. Failpoints\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, p := range points(t) {
		_, name, _ := strings.Cut(p, "/")
		if !strings.Contains(section, "`"+name) {
			t.Errorf("docs/testing.md, section 4, does not name %s", p)
		}
	}
}

// TestWhatShipsHasNoPoints: of the failpoints nothing is in a service that is built
// as it ships, not even a name. They cost nothing there.
func TestWhatShipsHasNoPoints(t *testing.T) {
	t.Parallel()
	all := points(t)
	for _, service := range []string{"provisioner", "watcher"} {
		t.Run(service, func(t *testing.T) {
			t.Parallel()
			shipped, tagged := compiled(t, service, ""), compiled(t, service, "failpoints")
			found := 0
			for _, p := range append(slices.Clone(all), "SANDBAR_FAILPOINT") {
				if bytes.Contains(shipped, []byte(p)) {
					t.Errorf("what ships holds %q", p)
				}
				if bytes.Contains(tagged, []byte(p)) {
					found++
				}
			}
			if found < 10 { // or this looks for what cannot be found
				t.Errorf("only %d points are in a build with the tag", found)
			}
		})
	}
}

// compiled is a service's program, built as the images are.
func compiled(t *testing.T, service, tags string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "program")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-tags", tags, "-o", out, "./cmd/"+service)
	cmd.Dir = filepath.Join(root, "services", service)
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	program, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return program
}
