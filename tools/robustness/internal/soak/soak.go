// Package soak judges whether what processes hold stays flat over a long run.
package soak

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sandbar-io/sandbar/tools/robustness/internal/history"
)

const (
	// Shortest is how long a run must be to be judged. What is shorter is all warm
	// up: heaps grow to what they need, and consumers of a client that was killed
	// stay until the server forgets them.
	Shortest = 20 * time.Minute
	// fewest is how many samples of a kind a run of that length has at least; it
	// makes some six rounds a minute.
	fewest = 40
)

// Series is one figure of one kind of process over a run.
type Series struct {
	Kind    string         `json:"kind"`
	Figure  history.Figure `json:"figure"`
	Samples int            `json:"samples"`
	First   int64          `json:"first"`
	Median  int64          `json:"median"`
	Highest int64          `json:"highest"`
	Last    int64          `json:"last"`
	Time    Trend          `json:"by_time"`
	Age     Trend          `json:"by_age"`
	Judged  bool           `json:"judged"`
	// Problem says what is not flat, or why nothing can be said.
	Problem string `json:"problem,omitempty"`
}

// Trend is the median of the second quarter of the samples, the median of the last
// quarter, and what that may be at most. The first quarter is warm up.
type Trend struct {
	Early int64 `json:"early"`
	Late  int64 `json:"late"`
	Limit int64 `json:"limit"`
}

// flat reports whether the late median is within its limit.
func (t Trend) flat() bool { return t.Late <= t.Limit }

// Judge makes the series of all kinds and figures. Samples are in the order in
// which they were taken.
//
// Each is looked at twice. By time: what grows outside of the processes, or in all
// of them at once, as NATS' consumers would that nobody takes away. And by the age
// of the process that was sampled: faults end processes, and what a process gathers
// goes with it, so that a leak is a sawtooth by time, and a slope by age.
func Judge(samples []history.Sample) (out []Series) {
	kinds := map[string][]history.Sample{}
	for _, s := range samples {
		kinds[s.Kind] = append(kinds[s.Kind], s)
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		of := kinds[kind]
		judged := of[len(of)-1].At-of[0].At >= Shortest
		byAge := slices.Clone(of)
		slices.SortStableFunc(byAge, func(a, b history.Sample) int { return cmp.Compare(a.Age, b.Age) })
		for _, figure := range slices.Sorted(maps.Keys(of[0].Figures)) {
			out = append(out, series(kind, figure, values(of, figure), values(byAge, figure), judged))
		}
	}
	return out
}

func values(of []history.Sample, figure history.Figure) (out []int64) {
	for _, s := range of {
		out = append(out, s.Figures[figure])
	}
	return out
}

func series(kind string, figure history.Figure, byTime, byAge []int64, judged bool) Series {
	s := Series{
		Kind: kind, Figure: figure, Samples: len(byTime), Judged: judged,
		First: byTime[0], Median: median(byTime), Highest: slices.Max(byTime), Last: byTime[len(byTime)-1],
		Time: trend(figure, byTime), Age: trend(figure, byAge),
	}
	switch {
	case !judged:
	case s.Samples < fewest:
		s.Problem = fmt.Sprintf("%d samples of %s are too few to say anything, want %d", s.Samples, kind, fewest)
	case !s.Time.flat():
		s.Problem = fmt.Sprintf("%s of %s grow over the run: %d early, %d late, at most %d", figure, kind, s.Time.Early, s.Time.Late, s.Time.Limit)
	case !s.Age.flat():
		s.Problem = fmt.Sprintf("%s of %s grow with the age of the process: %d of young ones, %d of old ones, at most %d", figure, kind, s.Age.Early, s.Age.Late, s.Age.Limit)
	}
	return s
}

func trend(figure history.Figure, in []int64) Trend {
	quarter := len(in) / 4
	early := median(in[quarter : len(in)/2+1])
	return Trend{Early: early, Late: median(in[len(in)-quarter-1:]), Limit: limit(figure, early)}
}

// limit is what may become of a median. Of what is counted a tenth more, and some:
// traffic goes on while samples are taken, and each request under way has its
// goroutines, files and connections. Of memory a half more, and 16 MiB: a heap
// grows to twice what lives in it before it is cleaned, when it is depends on
// chance, and what is free goes back to the system late.
func limit(figure history.Figure, early int64) int64 {
	if figure == history.Memory {
		return early + early/2 + 16<<20
	}
	const some = 5
	return early + early/10 + some
}

func median(of []int64) int64 { return slices.Sorted(slices.Values(of))[len(of)/2] }
