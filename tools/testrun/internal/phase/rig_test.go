package phase_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/testrun/internal/gotest"
	"github.com/sandbar-io/sandbar/tools/testrun/internal/phase"
)

// fakeGo stands in for the go command, which cannot be made to hang or to
// print what is wanted. It writes its arguments to ./called.
const fakeGo = `#!/bin/sh
echo "$*" >> called
case "$1 $3" in
"list apiserver") echo "m/a [] [x_test.go y_test.go]"; echo "m/b [] [b_test.go]"; exit ;;
"list "*) echo "m/a [] [x_test.go]"; echo "m/b [] [b_test.go]"; exit ;;
esac
. ./script
`

// recorder notes what the runner told.
type recorder struct{ log []string }

func (r *recorder) Phase(name, _ string) { r.log = append(r.log, "phase "+name) }
func (r *recorder) Step(text string)     { r.log = append(r.log, "step "+text) }
func (r *recorder) Event(gotest.Event)   {}
func (r *recorder) Text(line string)     { r.log = append(r.log, "text "+line) }
func (r *recorder) Tick([]gotest.ID)     {}
func (r *recorder) Finished(f gotest.Finished) {
	r.log = append(r.log, fmt.Sprint(f.Outcome, " ", f.ID))
}

type rig struct {
	*phase.Runner
	*recorder
	dir string
}

// newRig makes a runner whose `go test` runs script, in sh.
func newRig(t *testing.T, script string) rig {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("go", fakeGo, 0o755)
	write("script", script, 0o644)
	rec := &recorder{}
	return rig{&phase.Runner{
		Root: dir, Logs: filepath.Join(dir, "logs"), Go: filepath.Join(dir, "go"),
		Results: &gotest.Results{}, Progress: rec,
	}, rec, dir}
}

func (r rig) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// failures is every failure with its first line.
func (r rig) failures() string {
	var all []string
	for _, test := range r.Results.Tests() {
		if test.Outcome == gotest.Failed {
			line, _, _ := strings.Cut(test.Output, "\n")
			all = append(all, test.ID.String()+": "+line)
		}
	}
	return strings.Join(all, "\n")
}

const onePass = `
echo '{"Action":"start","Package":"m"}'
echo '{"Action":"run","Package":"m","Test":"T"}'
echo "plain text"
echo '{"Action":"pass","Package":"m","Test":"T"}'
echo '{"Action":"pass","Package":"m"}'
`

func sh(name, script string) phase.Command {
	return phase.Command{Name: name, Args: []string{"sh", "-c", script}, Timeout: time.Minute}
}

func oneTest(change ...func(*phase.Tests)) []phase.Tests {
	test := phase.Tests{Timeout: time.Minute}
	for _, f := range change {
		f(&test)
	}
	return []phase.Tests{test}
}
