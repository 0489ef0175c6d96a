// Command loadgen is `make bench`: it measures Sandbar beside its limits and writes
// .sandbar/bench/report.txt, report.json and plots. docs/performance.md says how.
//
//	go run ./loadgen [-run regexp] [-duration 10s] [-rounds 5] [-sandboxes 10000] [-rate 300]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/sandbar-io/sandbar/tools/internal/repo"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/bed"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/bench"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/limit"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second Ctrl-C ends at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// options are what the command line says.
type options struct {
	pattern   string
	duration  time.Duration
	rounds    int
	sandboxes int
	rate      int
	list      bool
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("loadgen", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.pattern, "run", "", "run only benchmarks whose name matches")
	flags.DurationVar(&o.duration, "duration", 10*time.Second, "of each measurement")
	flags.IntVar(&o.rounds, "rounds", 5, "how often each is measured, beside one that does not count")
	flags.IntVar(&o.sandboxes, "sandboxes", bench.Many, "how many there are where there are many")
	flags.IntVar(&o.rate, "rate", bench.StartRate, "starts a second of start-stub; two cores do not make the 300 that it is judged at")
	flags.BoolVar(&o.list, "list", false, "say which benchmarks there are")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 || o.duration < time.Second || o.rounds < 1 || o.sandboxes < 10 || o.rate < 1 {
		return o, errors.New("want -duration of at least 1s, -rounds and -rate of at least 1, -sandboxes of at least 10, and nothing else")
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "limit" { // a server of the limit's, started by this very program
		fmt.Fprintln(stderr, "loadgen:", limit.Serve(args[1:]))
		return 1
	}
	o, err := parse(args, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "loadgen:", err)
		return 2
	}
	selected, err := bench.Select(o.pattern)
	if err != nil {
		fmt.Fprintln(stderr, "loadgen:", err)
		return 2
	}
	if o.list {
		for _, b := range selected {
			fmt.Fprintf(stdout, "%-12s %s\n%-12s limit: %s\n", b.Name, b.What, "", b.Limit)
		}
		return 0
	}
	r, err := measure(ctx, o, selected, stdout)
	if err != nil {
		fmt.Fprintln(stderr, "loadgen:", err)
		return 1
	}
	if _, broken := r.Missed(); broken > 0 {
		return 1
	}
	return 0
}

func measure(ctx context.Context, o options, selected []bench.Benchmark, out io.Writer) (r report.Report, err error) {
	root, err := repo.Root()
	if err != nil {
		return r, err
	}
	say := func(format string, a ...any) { fmt.Fprintf(out, "loadgen: "+format+"\n", a...) }
	dir := filepath.Join(root, ".sandbar", "bench")
	say("builds the services")
	lab, err := bed.Open(ctx, root, dir)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, lab.Close()) }()
	e := &bench.Env{Lab: lab, Rounds: o.rounds, Duration: o.duration, Sandboxes: o.sandboxes, Rate: o.rate, Say: say}
	if slices.ContainsFunc(selected, func(b bench.Benchmark) bool { return b.Real }) {
		var down func() error
		if e.Cluster, down, err = controlPlane(ctx, root, say); err != nil {
			return r, err
		}
		defer func() { err = errors.Join(err, down()) }()
	}
	r = report.Report{Begun: time.Now(), Machine: report.ThisMachine()}
	for _, b := range selected {
		say("%s: %s", b.Name, b.What)
		r.Benchmarks = append(r.Benchmarks, one(ctx, e, b))
		if ctx.Err() != nil {
			break
		}
	}
	r.Ended = time.Now()
	if err := r.Write(dir); err != nil {
		return r, err
	}
	fmt.Fprintf(out, "\n%s\nWritten to %s\n", r.Text(), dir)
	return r, ctx.Err()
}

func one(ctx context.Context, e *bench.Env, b bench.Benchmark) report.Benchmark {
	begin := time.Now()
	out := report.Benchmark{Name: b.Name, What: b.What, Limit: b.Limit}
	cases, err := b.Run(ctx, e)
	if err != nil {
		out.Error = err.Error()
		e.Say("%s: %v", b.Name, err)
	}
	for _, c := range cases {
		out.Cases = append(out.Cases, report.Judge(c))
	}
	out.Seconds, out.Load1 = time.Since(begin).Seconds(), report.LoadAverage()
	return out
}
