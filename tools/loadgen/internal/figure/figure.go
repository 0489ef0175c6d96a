// Package figure compares what is measured with its limit: both in turn, in the
// same run, so that of a machine that others use only the ratio is left.
package figure

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/sandbar-io/sandbar/tools/loadgen/internal/load"
)

// Values of a Sample.
const (
	P50    = "p50"  // ms
	P99    = "p99"  // ms
	Rate   = "rate" // a second
	Time   = "time" // ms
	Memory = "memory"
	CPU    = "cpu" // ms of a core, of the server alone, for each question
)

// Units are what the values are in.
var Units = map[string]string{P50: "ms", P99: "ms", Rate: "/s", Time: "ms", Memory: "MiB", CPU: "ms"}

// Sample is one side of one round: values by name.
type Sample struct {
	Values  map[string]float64      `json:"values"`
	Failed  int                     `json:"failed,omitempty"`
	Failure string                  `json:"failure,omitempty"` // the first
	Late99  float64                 `json:"sent_late_p99_ms,omitempty"`
	Hist    *hdrhistogram.Histogram `json:"-"`
}

// Bound says how far a value may be from its limit, as a ratio. Neither: it is only
// shown.
type Bound struct {
	Value   string  `json:"value"`
	AtMost  float64 `json:"at_most,omitempty"`
	AtLeast float64 `json:"at_least,omitempty"`
}

func (b Bound) String() string {
	switch {
	case b.AtLeast > 0:
		return fmt.Sprintf("≥ %.4g ×", b.AtLeast)
	case b.AtMost == 0:
		return "nothing"
	}
	return fmt.Sprintf("≤ %.4g ×", b.AtMost)
}

// Holds reports whether a ratio is within it.
func (b Bound) Holds(ratio float64) bool {
	return (b.AtMost == 0 || ratio <= b.AtMost) && (b.AtLeast == 0 || ratio >= b.AtLeast)
}

// Round is one turn: ours, and then the limit.
type Round struct {
	Ours  Sample `json:"ours"`
	Limit Sample `json:"limit"`
}

// Case is one thing that is compared, and its rounds.
type Case struct {
	Name   string  `json:"name"`
	Bounds []Bound `json:"bounds"`
	Rounds []Round `json:"rounds"`
	Note   string  `json:"note,omitempty"`
}

// Measure takes one sample.
type Measure func(context.Context) (Sample, error)

// Alternate measures ours and the limit in turn: one round that does not count,
// which warms up connections and caches, and then so many.
func Alternate(ctx context.Context, rounds int, ours, limit Measure) ([]Round, error) {
	out := make([]Round, 0, rounds)
	for i := range rounds + 1 {
		a, err := ours(ctx)
		if err != nil {
			return nil, fmt.Errorf("ours: %w", err)
		}
		b, err := limit(ctx)
		if err != nil {
			return nil, fmt.Errorf("the limit: %w", err)
		}
		if i > 0 {
			out = append(out, Round{a, b})
		}
	}
	return out, ctx.Err()
}

// Latency is the sample of a load's latencies.
func Latency(r *load.Result) (Sample, error) {
	if r.Done() == 0 {
		return Sample{}, fmt.Errorf("nothing was answered: %w", cause(r))
	}
	s := Sample{
		Values: map[string]float64{P50: ms(r.Latency.ValueAtQuantile(50)), P99: ms(r.Latency.ValueAtQuantile(99))},
		Failed: r.Failed, Late99: ms(r.Late.ValueAtQuantile(99)), Hist: r.Latency,
	}
	if r.Failure != nil {
		s.Failure = r.Failure.Error()
	}
	return s, nil
}

// Throughput is the sample of how many were answered in a second.
func Throughput(r *load.Result) (Sample, error) {
	if r.Done() == 0 {
		return Sample{}, fmt.Errorf("nothing was answered: %w", cause(r))
	}
	s := Sample{Values: map[string]float64{Rate: r.Rate()}, Failed: r.Failed}
	if r.Failure != nil {
		s.Failure = r.Failure.Error()
	}
	return s, nil
}

// Took is the sample of one time.
func Took(d time.Duration) Sample {
	return Sample{Values: map[string]float64{Time: float64(d) / float64(time.Millisecond)}}
}

// Both puts the values of two samples into one.
func Both(a, b Sample) Sample {
	for name, v := range b.Values {
		a.Values[name] = v
	}
	a.Failed += b.Failed
	if a.Failure == "" {
		a.Failure = b.Failure
	}
	if a.Hist == nil {
		a.Hist, a.Late99 = b.Hist, b.Late99
	}
	return a
}

func cause(r *load.Result) error {
	if r.Failure == nil {
		return errors.New("and nothing was asked")
	}
	return r.Failure
}

func ms(ns int64) float64 { return float64(ns) / float64(time.Millisecond) }

// Verdict is what came of one bound.
type Verdict struct {
	Bound
	Ours    float64   `json:"ours"`   // median
	Limit   float64   `json:"limit"`  // median
	Ratios  []float64 `json:"ratios"` // of each round
	Ratio   float64   `json:"ratio"`  // their median
	Reached bool      `json:"reached"`
}

// Verdicts judges a case. One in which anything of ours failed has reached nothing.
func (c Case) Verdicts() []Verdict {
	var out []Verdict
	for _, b := range c.Bounds {
		v := Verdict{Bound: b}
		var ours, limit []float64
		failed := 0
		for _, r := range c.Rounds {
			x, y := r.Ours.Values[b.Value], r.Limit.Values[b.Value]
			failed += r.Ours.Failed
			if y == 0 { // the limit itself came to nothing: there is no ratio
				failed++
				y = math.Inf(1)
			}
			v.Ratios = append(v.Ratios, x/y)
			ours, limit = append(ours, x), append(limit, r.Limit.Values[b.Value])
		}
		v.Ours, v.Limit, v.Ratio = Median(ours), Median(limit), Median(v.Ratios)
		v.Reached = len(c.Rounds) > 0 && failed == 0 && b.Holds(v.Ratio)
		out = append(out, v)
	}
	return out
}

// Failed is how many of ours were not answered well, and the first reason.
func (c Case) Failed() (n int, why string) {
	for _, r := range c.Rounds {
		if n += r.Ours.Failed; why == "" {
			why = r.Ours.Failure
		}
	}
	return n, why
}

// Median is the middle of some numbers, 0 of none.
func Median(all []float64) float64 {
	s := slices.Sorted(slices.Values(all))
	n := len(s)
	if n == 0 {
		return 0
	}
	if n%2 == 1 {
		return s[n/2]
	}
	return (s[n/2-1] + s[n/2]) / 2
}
