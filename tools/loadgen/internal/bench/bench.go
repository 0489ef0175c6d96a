// Package bench is the benchmarks: what each measures, its limit, and how near it
// has to come.
package bench

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/sandbar-io/sandbar/tools/loadgen/internal/bed"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/figure"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/load"
)

// Env is what a benchmark gets.
type Env struct {
	*bed.Lab
	Rounds    int
	Duration  time.Duration // of each measurement, where it is a load
	Sandboxes int           // of those that need many; Many by itself
	Rate      int           // starts a second; StartRate by itself
	Cluster   string        // folder of a real control plane; "" where there is none
	Say       func(format string, a ...any)

	large           *bed.Bed           // shared by those that need many sandboxes
	footprint, full map[string]float64 // memory of each process: before them, and with them, in bytes
}

// Many is how many sandboxes a benchmark has that needs many.
const Many = 10_000

// Benchmark is one of them.
type Benchmark struct {
	Name  string
	What  string
	Limit string
	Real  bool // needs a real control plane
	Run   func(context.Context, *Env) ([]figure.Case, error)
}

// All are the benchmarks, in the order in which they run.
func All() []Benchmark {
	return []Benchmark{startStub, read, visible, router, scale, wide, takeover, failover, list, rebuild, memory, startReal, fairness}
}

// Select takes those whose names match.
func Select(pattern string) ([]Benchmark, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("-run: %w", err)
	}
	var out []Benchmark
	for _, b := range All() {
		if re.MatchString(b.Name) {
			out = append(out, b)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("-run: no benchmark matches %q", pattern)
	}
	return out, nil
}

// open measures the latency of a fixed rate.
func open(rate float64, d time.Duration, ask func(context.Context, int) error) figure.Measure {
	return func(ctx context.Context) (figure.Sample, error) {
		return figure.Latency(load.Open(ctx, rate, d, ask))
	}
}

// closed measures the rate of so many workers.
func closed(workers int, d time.Duration, ask func(context.Context, int) error) figure.Measure {
	return func(ctx context.Context) (figure.Sample, error) {
		return figure.Throughput(load.Closed(ctx, workers, d, func(ctx context.Context, w, n int) error { return ask(ctx, w+n*workers) }))
	}
}

// side is one that is asked: how, and which process answers.
type side struct {
	pid int
	ask func(context.Context, int) error
}

// sides are several that share what is asked.
type sides []side

// both measures the rate of so many workers with what it costs the server, and then
// the latency of a fixed rate.
func both(workers int, rate float64, d time.Duration, s side) figure.Measure {
	return func(ctx context.Context) (figure.Sample, error) {
		a, err := sides{s}.costing(func() *load.Result {
			return load.Closed(ctx, workers, d/2, func(ctx context.Context, w, n int) error { return s.ask(ctx, w+n*workers) })
		})
		if err != nil {
			return a, err
		}
		b, err := open(rate, d/2, s.ask)(ctx)
		return figure.Both(a, b), err
	}
}

// costing measures what a question of a load costs all sides together.
func (all sides) costing(run func() *load.Result) (figure.Sample, error) {
	before, err := all.spent()
	if err != nil {
		return figure.Sample{}, err
	}
	r := run()
	s, err := figure.Throughput(r)
	if err != nil {
		return s, err
	}
	after, err := all.spent()
	s.Values[figure.CPU] = float64(after-before) / float64(time.Millisecond) / float64(r.Done())
	return s, err
}

// spent is the time that all of them have had of the cores.
func (all sides) spent() (sum time.Duration, err error) {
	for _, s := range all {
		t, err := bed.Spent(s.pid)
		if err != nil {
			return 0, err
		}
		sum += t
	}
	return sum, nil
}

// spent tells what a question costs the two servers.
func spent(rounds []figure.Round) string {
	var ours, limit []float64
	for _, r := range rounds {
		ours, limit = append(ours, r.Ours.Values[figure.CPU]), append(limit, r.Limit.Values[figure.CPU])
	}
	return fmt.Sprintf("the server takes %.3f ms of a core each, the limit's %.3f", figure.Median(ours), figure.Median(limit))
}

// moderate is a rate that a server keeps up with easily: a share of the slower of
// two that were tried out.
func moderate(ctx context.Context, share float64, d time.Duration, workers int, sides ...side) (float64, error) {
	rate := 0.0
	for _, one := range sides {
		s, err := closed(workers, d, one.ask)(ctx)
		if err != nil {
			return 0, err
		}
		if r := s.Values[figure.Rate]; rate == 0 || r < rate {
			rate = r
		}
	}
	return rate * share, nil
}

// costing adds the processor time of what is measured.
func costing(b *bed.Bed, used bed.CPU, m figure.Measure) figure.Measure {
	return func(ctx context.Context) (figure.Sample, error) {
		before, err := b.CPU()
		if err != nil {
			return figure.Sample{}, err
		}
		s, err := m(ctx)
		if err != nil {
			return s, err
		}
		after, err := b.CPU()
		if err != nil {
			return s, err
		}
		used.Add(before, after)
		return s, nil
	}
}
