package failpoint_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// build makes the program of testdata, with or without the tag.
func build(t *testing.T, tags string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "points")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-tags="+tags, "-o", out, "./testdata/points")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return out
}

// run hits points and reports which were passed, and whether it was killed.
func run(t *testing.T, program string, environ []string, points ...string) (passed string, killed bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, points...)
	cmd.Env = environ
	var out bytes.Buffer
	cmd.Stdout = &out
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL:
		killed = true
	default:
		t.Fatalf("%s: %v", program, err)
	}
	return strings.Join(strings.Fields(out.String()), " "), killed
}

func TestHit(t *testing.T) {
	t.Parallel()
	program := build(t, "failpoints")
	for name, c := range map[string]struct {
		point  string
		hits   []string
		passed string
		killed bool
	}{
		"nothing is set":        {"", []string{"a", "b"}, "a b", false},
		"the first hit":         {"b", []string{"a", "b", "c"}, "a", true},
		"the first, by number":  {"b:1", []string{"a", "b", "c"}, "a", true},
		"the third":             {"a:3", []string{"a", "b", "a", "b", "a", "a"}, "a b a b", true},
		"never hit":             {"z", []string{"a", "b"}, "a b", false},
		"not hit often enough":  {"a:3", []string{"a", "a"}, "a a", false},
		"a name with a slash":   {"provisioner/after-pod:2", []string{"provisioner/after-pod", "provisioner/after-pod"}, "provisioner/after-pod", true},
		"a part of a name":      {"a", []string{"ab", "a"}, "ab", true},
		"a number that is none": {"a:x", []string{"a"}, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			passed, killed := run(t, program, []string{"SANDBAR_FAILPOINT=" + c.point}, c.hits...)
			if passed != c.passed || killed != c.killed {
				t.Errorf("passed %q, killed: %v", passed, killed)
			}
		})
	}
}

// A process that was started again goes on.
func TestHitOnce(t *testing.T) {
	t.Parallel()
	program := build(t, "failpoints")
	file := filepath.Join(t.TempDir(), "once")
	environ := []string{"SANDBAR_FAILPOINT=a:2", "SANDBAR_FAILPOINT_ONCE=" + file}
	if passed, killed := run(t, program, environ, "a"); passed != "a" || killed {
		t.Errorf("passed %q, killed: %v", passed, killed)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the file is made before the point kills")
	}
	if passed, killed := run(t, program, environ, "a", "a", "b"); passed != "a" || !killed {
		t.Errorf("passed %q, killed: %v", passed, killed)
	}
	for range 2 {
		if passed, killed := run(t, program, environ, "a", "a", "b"); passed != "a a b" || killed {
			t.Errorf("passed %q, killed: %v", passed, killed)
		}
	}
}

// What ships kills nothing.
func TestHitWithoutTheTag(t *testing.T) {
	t.Parallel()
	passed, killed := run(t, build(t, ""), []string{"SANDBAR_FAILPOINT=a"}, "a", "b")
	if passed != "a b" || killed {
		t.Errorf("passed %q, killed: %v", passed, killed)
	}
}
