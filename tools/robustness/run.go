package robustness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sandbar-io/sandbar/tools/devstack/stack"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/check"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/history"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/plan"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/report"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/soak"
)

// Options say what to run.
type Options struct {
	Repo     string // the source
	Cluster  string // folder of a cluster with simulated nodes
	Dir      string // of the installation and of what is recorded; emptied first
	Seed     uint64
	Duration time.Duration // no fault begins after it
	Log      func(format string, a ...any)
}

// How many clients there are, and what they share.
const (
	tenants   = 3
	perTenant = 8 // sessions; every tenant has the same names
	perClient = 4 // sessions that one changer owns
	changers  = tenants * perTenant / perClient
	readers   = 6
)

// world is a run while it lasts.
type world struct {
	Options
	*installation
	recorder *history.Recorder
	sessions *sessions
}

// Run makes an installation, runs traffic and faults against it, ends it, and
// judges what was recorded. A violation is no error: the report has it.
func Run(ctx context.Context, o Options) (found *report.Report, err error) {
	if left, err := stack.Load(stackDir(o)); err == nil { // of a run that was killed
		if err := left.Stop(); err != nil {
			return nil, err
		}
	}
	if err := os.RemoveAll(o.Dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	file, err := os.Create(filepath.Join(o.Dir, "history.jsonl"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	in, err := install(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.remove(context.WithoutCancel(ctx))) }()
	w := &world{Options: o, installation: in, recorder: history.NewRecorder(file), sessions: newSessions()}
	if err := w.run(ctx); err != nil {
		return nil, err
	}
	h, err := w.recorder.History()
	if err != nil {
		return nil, err
	}
	found = report.New(o.Seed, h, check.History(h), soak.Judge(h.Samples))
	return found, save(o.Dir, found)
}

func save(dir string, r *report.Report) error {
	var errs []error
	for name, write := range map[string]func(*os.File) error{
		"report.txt":  func(f *os.File) error { return r.Text(f) },
		"report.json": func(f *os.File) error { return r.JSON(f) },
	} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		errs = append(errs, write(f), f.Close())
	}
	return errors.Join(errs...)
}

// run lets observers, clients and faults work, and then brings all to rest.
func (w *world) run(ctx context.Context) error {
	watching, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	var observers sync.WaitGroup
	defer observers.Wait()
	tails, err := w.observe(watching, &observers)
	if err != nil {
		stopWatching()
		return err
	}
	working, stopWork := context.WithCancel(ctx)
	var clients sync.WaitGroup
	for i := range changers {
		clients.Go(func() { w.change(working, i) })
	}
	for i := range readers {
		clients.Go(func() { w.read(working, i) })
	}
	err = w.faults(ctx)
	stopWork()
	clients.Wait()
	if err == nil {
		err = w.end(ctx, tails)
	}
	stopWatching()
	return err
}

// faults makes one round after the other. Its error is that the run cannot go on.
func (w *world) faults(ctx context.Context) error {
	rounds := plan.NewRounds(w.Seed, w.targets())
	if err := w.well(ctx, time.Now()); err != nil {
		return fmt.Errorf("before any fault: %w", err)
	}
	w.sample(ctx)
	for n := 1; w.recorder.Now() < w.Duration; n++ {
		r := rounds.Next()
		if err := w.round(ctx, n, r); err != nil {
			return fmt.Errorf("round %d: %w", n, err)
		}
		wait(ctx, r.Rest)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		w.sample(ctx)
	}
	return nil
}

// wait returns early if ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
