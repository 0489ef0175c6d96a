package phase

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sandbar-io/sandbar/tools/internal/machine"
	"github.com/sandbar-io/sandbar/tools/testrun/internal/gotest"
)

// Progress is told what happens.
type Progress interface {
	Phase(name, what string)
	Step(text string)
	Event(e gotest.Event)
	Finished(f gotest.Finished)
	Text(line string)
	Tick(open []gotest.ID)
}

// Runner runs phases and gathers their results.
type Runner struct {
	Root     string // of the repository
	Logs     string // folder for the logs of setup and teardown
	Go       string // the go command
	Filter   string // go test -run
	Results  *gotest.Results
	Progress Progress
}

// Time is how long a phase took, and how busy the machine was meanwhile, where it
// tells.
type Time struct {
	Name string
	Took time.Duration
	Busy string
}

// Run runs the phases one after the other. A failed one does not stop the
// next, the end of ctx does; what was set up is always torn down.
func (r *Runner) Run(ctx context.Context, phases []Phase) []Time {
	var times []Time
	for _, p := range phases {
		if ctx.Err() != nil {
			r.fail(p.Name, "not run: interrupted")
			continue
		}
		begin, before := time.Now(), machine.Now()
		r.Progress.Phase(p.Name, p.What)
		r.phase(ctx, p)
		times = append(times, Time{p.Name, time.Since(begin), before.Since()})
	}
	return times
}

func (r *Runner) phase(ctx context.Context, p Phase) {
	var env []string
	if p.Given == "" || os.Getenv(p.Given) == "" {
		// Not ctx: after a Ctrl-C the teardown is what is wanted.
		defer r.teardown(context.WithoutCancel(ctx), p)
		var err error
		if env, err = r.setup(ctx, p); err != nil {
			r.fail(p.Name, err.Error())
			return
		}
		env = append(env, expand(p.Env, append(env, "REPO="+r.Root))...)
	}
	before := r.Results.Len()
	for _, t := range p.Tests {
		if ctx.Err() != nil {
			r.fail(p.Name+" "+t.Module, "not run: interrupted")
			continue
		}
		if err := r.tests(ctx, t, env); err != nil {
			r.fail(p.Name+" "+t.Module, err.Error())
		}
	}
	if r.Results.Len() == before && r.Filter == "" {
		r.fail(p.Name, "the phase ran no test")
	}
}

func (r *Runner) setup(ctx context.Context, p Phase) ([]string, error) {
	for _, c := range p.Setup {
		if err := r.command(ctx, p.Name, c); err != nil {
			return nil, fmt.Errorf("setup: %w", err)
		}
	}
	if p.EnvFile == "" {
		return nil, nil
	}
	return readEnvFile(filepath.Join(r.Root, p.EnvFile))
}

func (r *Runner) teardown(ctx context.Context, p Phase) {
	for _, c := range p.Teardown {
		if err := r.command(ctx, p.Name, c); err != nil {
			r.fail(p.Name, "teardown: "+err.Error())
		}
	}
}

// command runs one with its output in a log; the error names the log.
func (r *Runner) command(ctx context.Context, phase string, c Command) (err error) {
	r.Progress.Step(c.Name)
	if err := os.MkdirAll(r.Logs, 0o755); err != nil {
		return fmt.Errorf("logs: %w", err)
	}
	path := filepath.Join(r.Logs, fileName(phase+" "+c.Name)+".log")
	log, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	ctx, cancel := context.WithTimeoutCause(ctx, c.Timeout, fmt.Errorf("its limit is %s", c.Timeout))
	defer cancel()
	// A file and no pipe: a daemon that keeps it open does not hold up Wait.
	cmd := process(ctx, filepath.Join(r.Root, c.Dir), append(os.Environ(), c.Env...), c.Args, log, log)
	if err := runProcess(ctx, cmd); err != nil {
		return fmt.Errorf("%s: %w; log: %s\n%s", c.Name, err, path, tail(path))
	}
	return nil
}

// fail counts a failure that belongs to no test.
func (r *Runner) fail(what, reason string) {
	id := gotest.ID{Package: what}
	r.Results.Set(id, gotest.Failed, reason+"\n")
	r.Progress.Finished(gotest.Finished{ID: id, Outcome: gotest.Failed, Output: reason + "\n"})
}
