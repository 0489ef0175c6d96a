package phase

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sandbar-io/sandbar/tools/testrun/internal/gotest"
)

// tick is how often a silent run says that it lives.
const tick = 30 * time.Second

// tests runs one `go test`. The error is what no failed test tells.
func (r *Runner) tests(ctx context.Context, t Tests, env []string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, t.Timeout, fmt.Errorf("its limit is %s", t.Timeout))
	defer cancel()
	packages := t.Packages
	if len(packages) == 0 {
		packages = []string{"./..."}
	}
	if t.Tags != "" {
		var err error
		if packages, err = r.tagged(ctx, t, packages); err != nil || len(packages) == 0 {
			return err
		}
	}
	args := []string{r.Go, "test", "-json", "-timeout", t.Timeout.String()}
	if t.Tags != "" {
		args = append(args, "-tags", t.Tags)
	}
	if r.Filter != "" {
		args = append(args, "-run", r.Filter)
	}
	args = append(append(args, t.Flags...), packages...)
	r.Progress.Step(t.Module + ": " + strings.Join(args[1:], " "))

	run := gotest.NewRun(r.Results)
	events := make(chan string)
	out, problems := &lines{take: func(s string) { events <- s }}, &lines{take: func(s string) { events <- s }}
	cmd := process(ctx, filepath.Join(r.Root, t.Module), slices.Concat(os.Environ(), env, t.Env), args, out, problems)
	cmd.WaitDelay = cmp.Or(t.Grace, grace)
	cmd.Cancel = func() error {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return signalGroup(cmd, syscall.SIGQUIT) // test binaries tell where they hang
		}
		return signalGroup(cmd, syscall.SIGINT)
	}
	done := make(chan error, 1)
	go func() {
		err := runProcess(ctx, cmd)
		out.flush()
		problems.flush()
		done <- err
	}()
	err := r.follow(run, events, done)
	ended, failed := run.Close()
	for _, f := range ended {
		r.Progress.Finished(f)
	}
	var exit *exec.ExitError
	if failed && errors.As(err, &exit) {
		return nil // told already, test by test
	}
	return err
}

// follow takes the lines until the process has ended.
func (r *Runner) follow(run *gotest.Run, events <-chan string, done <-chan error) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case line := <-events:
			e, ok := gotest.Decode(line)
			if !ok {
				r.Progress.Text(line)
				continue
			}
			r.Progress.Event(e)
			for _, f := range run.Add(e) {
				r.Progress.Finished(f)
			}
		case <-ticker.C:
			r.Progress.Tick(run.Open())
		case err := <-done:
			return err
		}
	}
}

// tagged lists the packages that have other test files with the tags than without.
func (r *Runner) tagged(ctx context.Context, t Tests, packages []string) ([]string, error) {
	plain, err := r.list(ctx, t.Module, "", packages)
	if err != nil {
		return nil, err
	}
	withTags, err := r.list(ctx, t.Module, t.Tags, packages)
	if err != nil {
		return nil, err
	}
	var only []string
	for line := range strings.Lines(withTags) {
		if !strings.Contains("\n"+plain, "\n"+line) {
			name, _, _ := strings.Cut(line, " ")
			only = append(only, name)
		}
	}
	return only, nil
}

func (r *Runner) list(ctx context.Context, module, tags string, packages []string) (string, error) {
	args := append([]string{r.Go, "list", "-tags", tags, "-f", "{{.ImportPath}} {{.TestGoFiles}} {{.XTestGoFiles}}"}, packages...)
	var out, problems strings.Builder
	cmd := process(ctx, filepath.Join(r.Root, module), os.Environ(), args, &out, &problems)
	if err := runProcess(ctx, cmd); err != nil {
		return "", fmt.Errorf("list packages of %s: %w\n%s", module, err, problems.String())
	}
	return out.String(), nil
}
