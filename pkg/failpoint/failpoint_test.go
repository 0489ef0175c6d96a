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
	"time"
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
		"a crash by its name":   {"b=crash", []string{"a", "b"}, "a", true},
		"not after a failure":   {"a", []string{"a?", "b", "a"}, "a:failed b", true},
		"a point without error": {"b", []string{"a!", "b!"}, "a", true},

		"an error":                          {"b=error", []string{"a", "b", "b", "c"}, "a b:lost b c", false},
		"the second is an error":            {"b:2=error", []string{"b", "b", "b"}, "b b:lost b", false},
		"no error where none can be":        {"b=error", []string{"b!", "b"}, "b b:lost", false},
		"an error, and then a crash":        {"a=error,b:2", []string{"a", "b", "a", "b", "c"}, "a:lost b a", true},
		"one that failed is no error":       {"a=error", []string{"a?", "a"}, "a:failed a:lost", false},
		"a hang that its context ends":      {"a=hang", []string{"a", "b"}, "a:ended b", false},
		"a hang where no error can be told": {"a=hang", []string{"a!", "b"}, "a b", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			passed, killed := run(t, program, []string{"SANDBAR_FAILPOINT=" + c.point, "ENDS_AFTER=50ms"}, c.hits...)
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

// Each point of a list happens once, also where the first of them ended the
// process.
func TestHitOnceOfAList(t *testing.T) {
	t.Parallel()
	program := build(t, "failpoints")
	file := filepath.Join(t.TempDir(), "once")
	environ := []string{"SANDBAR_FAILPOINT=a,b,c=error", "SANDBAR_FAILPOINT_ONCE=" + file}
	for i, want := range []struct {
		passed string
		killed bool
	}{{"", true}, {"a", true}, {"a b c:lost", false}, {"a b c", false}} {
		if passed, killed := run(t, program, environ, "a", "b", "c"); passed != want.passed || killed != want.killed {
			t.Errorf("life %d passed %q, killed: %v", i+1, passed, killed)
		}
	}
	for _, name := range []string{file, file + ".2", file + ".3"} {
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
}

// An answer that comes late is one.
func TestAHangEnds(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	passed, killed := run(t, build(t, "failpoints"), []string{"SANDBAR_FAILPOINT=a=hang", "SANDBAR_FAILPOINT_HANG=300ms"}, "a", "b")
	if passed != "a b" || killed || time.Since(begin) < 300*time.Millisecond {
		t.Errorf("passed %q after %s, killed: %v", passed, time.Since(begin), killed)
	}
}

// What ships does nothing of it.
func TestHitWithoutTheTag(t *testing.T) {
	t.Parallel()
	program := build(t, "")
	for _, what := range []string{"", "=crash", "=hang", "=error"} {
		passed, killed := run(t, program, []string{"SANDBAR_FAILPOINT=a" + what}, "a", "a!", "a?", "b")
		if passed != "a a a:failed b" || killed {
			t.Errorf("%q: passed %q, killed: %v", what, passed, killed)
		}
	}
}
