package phase_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/testrun/internal/gotest"
	"github.com/sandbar-io/sandbar/tools/testrun/internal/phase"
)

func TestPhaseInOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t, `echo "$FIXED $WRITTEN $STEP $FOLDER" >> order`+onePass)
	times := r.Run(t.Context(), []phase.Phase{{
		Name:     "p",
		Setup:    []phase.Command{sh("up", "echo up >> order; echo \"KEY='from setup'\" > env")},
		Teardown: []phase.Command{sh("down", "echo down >> order")},
		EnvFile:  "env", Env: []string{"FIXED=1", "WRITTEN=<${KEY}>", "FOLDER=${REPO}/x"},
		Tests: oneTest(func(t *phase.Tests) { t.Env, t.Flags = []string{"STEP=s"}, []string{"-race"} }),
	}})
	if got := r.failures(); got != "" {
		t.Errorf("failures: %s", got)
	}
	if got := r.read(t, "order"); got != "up\n1 <from setup> s "+r.dir+"/x\ndown\n" {
		t.Errorf("order = %q", got)
	}
	if got := r.read(t, "called"); got != "test -json -timeout 1m0s -race ./...\n" {
		t.Errorf("go was called with %q", got)
	}
	if r.Results.Count(gotest.Passed) != 1 || len(times) != 1 || times[0].Name != "p" {
		t.Errorf("passed %d, times %v", r.Results.Count(gotest.Passed), times)
	}
	if !strings.Contains(strings.Join(r.log, "\n"), "text plain text") {
		t.Errorf("log = %q", r.log)
	}
}

func TestFailuresThatNoTestTells(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		script string
		phase  phase.Phase
		want   string
	}{
		"setup fails": {
			onePass,
			phase.Phase{Setup: []phase.Command{sh("up", "echo no room; exit 3")}, Tests: oneTest()},
			"p: setup: up: sh: exit status 3; log: ",
		},
		"setup takes too long": {
			onePass,
			phase.Phase{Setup: []phase.Command{{Name: "up", Args: []string{"sleep", "60"}, Timeout: time.Millisecond}}, Tests: oneTest()},
			"p: setup: up: sleep: not done in time: its limit is 1ms",
		},
		"setup writes no variables": {
			onePass, phase.Phase{EnvFile: "none", Tests: oneTest()}, "the setup did not write it",
		},
		"teardown fails": {
			onePass,
			phase.Phase{Teardown: []phase.Command{sh("down", "exit 1")}, Tests: oneTest()},
			"p: teardown: down: sh: exit status 1",
		},
		"go fails without a test": {
			onePass + "echo 'go: no such module' >&2; exit 1",
			phase.Phase{Tests: oneTest(func(t *phase.Tests) { t.Module = "." })},
			"p .: " + "%go: exit status 1",
		},
		"tests take too long": {
			onePass + "sleep 60",
			phase.Phase{Tests: oneTest(func(t *phase.Tests) { t.Timeout = 300 * time.Millisecond })},
			"not done in time: its limit is 300ms",
		},
		"nothing ran": {"", phase.Phase{Tests: oneTest()}, "p: the phase ran no test"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, tt.script)
			tt.phase.Name = "p"
			r.Run(t.Context(), []phase.Phase{tt.phase})
			want := strings.ReplaceAll(tt.want, "%go", r.Go)
			if got := r.failures(); !strings.Contains(got, want) || strings.Contains(got, "\n") {
				t.Errorf("failures = %q, want one with %q", got, want)
			}
		})
	}
}

func TestSetupLogIsShown(t *testing.T) {
	t.Parallel()
	r := newRig(t, onePass)
	r.Run(t.Context(), []phase.Phase{{Name: "p", Setup: []phase.Command{sh("go up", "echo why it failed; exit 1")}, Tests: oneTest()}})
	if got := r.read(t, "logs/p-go-up.log"); got != "why it failed\n" {
		t.Errorf("log = %q", got)
	}
	output := r.Results.Tests()[0].Output
	if !strings.Contains(output, "    why it failed") || !strings.Contains(output, filepath.Join(r.dir, "logs/p-go-up.log")) {
		t.Errorf("output = %q", output)
	}
}

func TestGivenLeavesSetupOut(t *testing.T) {
	r := newRig(t, `[ "$PHASE_TEST_GIVEN" = yes ] || exit 1`+onePass)
	t.Setenv("PHASE_TEST_GIVEN", "yes")
	r.Run(t.Context(), []phase.Phase{{
		Name: "p", Given: "PHASE_TEST_GIVEN", EnvFile: "none", Env: []string{"PHASE_TEST_GIVEN=no"}, Tests: oneTest(),
		Setup: []phase.Command{sh("up", "exit 1")}, Teardown: []phase.Command{sh("down", "exit 1")},
	}})
	if got := r.failures(); got != "" {
		t.Errorf("failures: %s", got)
	}
}

func TestTagsRunOnlyWhatTheyBring(t *testing.T) {
	t.Parallel()
	r := newRig(t, onePass)
	r.Run(t.Context(), []phase.Phase{{Name: "p", Tests: oneTest(func(t *phase.Tests) { t.Tags = "apiserver" })}})
	if got := r.read(t, "called"); !strings.HasSuffix(got, "\ntest -json -timeout 1m0s -tags apiserver m/a\n") {
		t.Errorf("go was called with %q", got)
	}
}

func TestFilterIsPassedOnAndMayMatchNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	r.Filter = "TestX"
	r.Run(t.Context(), []phase.Phase{{Name: "p", Tests: oneTest()}})
	if got := r.read(t, "called"); !strings.Contains(got, "-run TestX") || r.failures() != "" {
		t.Errorf("called %q, failures %q", got, r.failures())
	}
}

// Who does not stop is killed when his time is over.
func TestGrace(t *testing.T) {
	t.Parallel()
	r := newRig(t, `
trap '' INT
echo '{"Action":"start","Package":"m"}'
echo '{"Action":"run","Package":"m","Test":"T"}'
echo here
while :; do sleep 0.01; done
`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var told time.Time
	r.Progress = &onText{recorder: r.recorder, do: func() { told = time.Now(); cancel() }}
	tests := oneTest()
	tests[0].Grace = 100 * time.Millisecond
	r.Run(ctx, []phase.Phase{{Name: "p", Tests: tests}})
	if took := time.Since(told); told.IsZero() || took < tests[0].Grace || took > 10*time.Second {
		t.Errorf("it was killed after %s", took)
	}
}

// TestInterrupt: the test gets a signal, the teardown runs, the next phase does not.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	r := newRig(t, `
trap 'echo stopped >> order; exit 130' INT
echo '{"Action":"start","Package":"m"}'
echo '{"Action":"run","Package":"m","Test":"T"}'
echo here
while :; do sleep 0.01; done
`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r.Progress = &onText{recorder: r.recorder, do: cancel}
	r.Run(ctx, []phase.Phase{
		{Name: "p", Teardown: []phase.Command{sh("down", "echo down >> order")}, Tests: oneTest()},
		{Name: "next", Tests: oneTest()},
	})
	if got := r.read(t, "order"); got != "stopped\ndown\n" {
		t.Errorf("order = %q", got)
	}
	if got := r.failures(); !strings.Contains(got, "m T: (the run ended") || !strings.Contains(got, "next: not run: interrupted") {
		t.Errorf("failures = %q", got)
	}
}

// onText calls do when a test says "here".
type onText struct {
	*recorder
	do func()
}

func (o *onText) Text(line string) {
	o.recorder.Text(line)
	if line == "here" {
		o.do()
	}
}
