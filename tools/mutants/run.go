package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sandbar-io/sandbar/tools/internal/overlay"
)

// grace is for tests that are told to end: random faults heal the last one and take
// their processes down.
const grace = 90 * time.Second

// runner runs bugs.
type runner struct {
	root    string
	env     []string
	out     io.Writer
	verbose bool
	sound   map[string]error // whether tests pass without a bug, by what is run
}

// all runs all bugs; the error names those that were not caught.
func (r *runner) all(ctx context.Context, bugs []bug) error {
	var missed []string
	begin := time.Now()
	for _, b := range bugs {
		at := time.Now()
		err := r.one(ctx, b)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			missed = append(missed, b.name)
			fmt.Fprintf(r.out, "NOT CAUGHT %s (%s): %v\n", b.name, took(at), err)
			continue
		}
		fmt.Fprintf(r.out, "caught     %s (%s)\n", b.name, took(at))
	}
	fmt.Fprintf(r.out, "%d caught, %d not caught (%s)\n", len(bugs)-len(missed), len(missed), took(begin))
	switch {
	case len(bugs) == 0:
		return errors.New("no bug has such a name")
	case len(missed) > 0:
		return fmt.Errorf("not caught: %s", strings.Join(missed, ", "))
	}
	return nil
}

// one puts a bug in; the error says which test does not catch it.
func (r *runner) one(ctx context.Context, b bug) (err error) {
	dir, err := os.MkdirTemp("", "sandbar-mutant-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path, err := overlay.Write(r.root, dir, b.changes)
	if err != nil {
		return err
	}
	for _, c := range b.caught {
		if err := r.passes(ctx, c); err != nil {
			return err
		}
		outcome, err := r.test(ctx, c, path)
		if err != nil {
			return err
		}
		if err := outcome.breaks(c.broken); err != nil {
			return fmt.Errorf("%s: %w; %s", c.pkg, err, outcome.ends(c.tests[0]))
		}
		for _, test := range c.tests {
			if err := outcome.caught(test); err != nil {
				return fmt.Errorf("%s %s: %w", c.pkg, test, err)
			}
			if r.verbose {
				fmt.Fprintf(r.out, "  %s %s: %s\n", c.pkg, test, outcome.ends(test))
			}
		}
	}
	return nil
}

// passes demands that tests pass without a bug. Results may come from the cache.
func (r *runner) passes(ctx context.Context, c catch) error {
	key := fmt.Sprint(c.module, c.pkg, c.layer, c.tests)
	err, known := r.sound[key]
	if known {
		return err
	}
	outcome, err := r.test(ctx, c, "")
	for _, test := range c.tests {
		if err == nil && outcome.tests[test] != "pass" {
			err = fmt.Errorf("%s %s does not pass without a bug: %q, %s", c.pkg, test, outcome.tests[test], outcome.says(test))
		}
	}
	r.sound[key] = err
	return err
}

// outcome is what `go test -json` told.
type outcome struct {
	tests  map[string]string // test → pass, fail
	output map[string]string // of tests with their subtests; "" of all else
}

// test runs the tests of a catch, with an overlay or, where that is empty, without
// a bug. The error says that they could not run.
func (r *runner) test(ctx context.Context, c catch, overlay string) (outcome, error) {
	on := grounds()[c.layer]
	args := []string{"test", "-json", "-vet=off", "-timeout", on.limit, "-run", "^(" + strings.Join(c.tests, "|") + ")$"}
	if on.tags != "" {
		args = append(args, "-tags", on.tags)
	}
	if overlay != "" || on.builds { // of what tests build the cache knows nothing
		args = append(args, "-count=1")
	}
	switch {
	case overlay != "" && on.builds:
		args = append(args, "-exec", "env GOFLAGS=-overlay="+overlay)
	case overlay != "":
		args = append(args, "-overlay="+overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./"+c.pkg)...)
	cmd.Dir, cmd.Env = filepath.Join(r.root, c.module), slices.Concat(os.Environ(), r.env, on.env)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = grace
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	failed := cmd.Run() // a test that fails is told in the output
	o, built := read(out.Bytes())
	if !built || len(o.tests) == 0 {
		return o, fmt.Errorf("%s: the tests do not run: %w\n%s", c.pkg, failed, out.String())
	}
	return o, nil
}

// read takes apart what `go test -json` printed; built is false where it does not
// compile.
func read(raw []byte) (o outcome, built bool) {
	o = outcome{tests: map[string]string{}, output: map[string]string{}}
	built = true
	for line := range bytes.Lines(raw) {
		var e struct{ Action, Test, Output, FailedBuild string }
		if json.Unmarshal(line, &e) != nil {
			continue
		}
		built = built && e.FailedBuild == "" && e.Action != "build-fail"
		top, _, sub := strings.Cut(e.Test, "/")
		switch {
		case e.Action == "output":
			o.output[top] += e.Output
		case e.Test != "" && !sub && (e.Action == "pass" || e.Action == "fail"):
			o.tests[top] = e.Action
		}
	}
	return o, built
}

// caught demands that a test failed by what it asserts.
func (o outcome) caught(test string) error {
	for _, text := range o.output {
		if strings.Contains(text, "panic: test timed out") {
			return fmt.Errorf("the tests hang")
		}
	}
	switch o.tests[test] {
	case "fail":
		return nil
	case "":
		return errors.New("did not run to its end: " + o.says(test))
	}
	return errors.New("passes")
}

// breaks demands that random faults found one of these promises broken; none are
// asked for of other tests.
func (o outcome) breaks(promises []string) error {
	found := o.broken()
	for _, p := range promises {
		if _, ok := found[p]; ok {
			return nil
		}
	}
	if len(promises) == 0 {
		return nil
	}
	return fmt.Errorf("none of %q is found broken, but %v", promises, found)
}

// brokenLine is how the report of random faults ends.
var brokenLine = regexp.MustCompile(`(?m)^\s*(\d+) violations of "(.+)"$`)

// broken is how often each promise was found broken by random faults.
func (o outcome) broken() map[string]string {
	found := map[string]string{}
	for _, text := range o.output {
		for _, m := range brokenLine.FindAllStringSubmatch(text, -1) {
			found[m[2]] = m[1]
		}
	}
	return found
}

// ends is what random faults found broken, or the first thing that a test complains of.
func (o outcome) ends(test string) string {
	if found := o.broken(); len(found) > 0 {
		return fmt.Sprint(found)
	}
	return o.says(test)
}

// says is the first thing that a test complains of.
func (o outcome) says(test string) string {
	for line := range strings.Lines(o.output[test]) {
		if text := strings.TrimSpace(line); strings.Contains(text, "_test.go:") || strings.HasPrefix(text, "panic:") {
			return text
		}
	}
	return "nothing"
}
