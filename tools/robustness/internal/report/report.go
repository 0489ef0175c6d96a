// Package report says what a run did and what it found.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/sandbar-io/sandbar/tools/robustness/internal/check"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/history"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/soak"
)

// Report is one run.
type Report struct {
	Seed       uint64            `json:"seed"`
	Took       time.Duration     `json:"took"`
	Operations int               `json:"operations"`
	Rounds     int               `json:"rounds"`
	Answers    []Answers         `json:"answers"`
	Faults     []Fault           `json:"faults"`
	Pods       int               `json:"pods"` // that ran
	Events     int               `json:"events"`
	Views      int               `json:"views"`
	Slow       int               `json:"slow_moments"` // of the machine
	Reads      int               `json:"reads_judged"`
	Fresh      int               `json:"reads_fresh"` // see check.Result
	Held       []soak.Series     `json:"held"`
	Violations []check.Violation `json:"violations"`
}

// Answers are those to one verb.
type Answers struct {
	Verb  history.Verb            `json:"verb"`
	Total int                     `json:"total"`
	Of    map[history.Outcome]int `json:"of"`
	HTTP  map[string]int          `json:"http"` // "none": no answer came
	// Of the requests that touched no fault: how many were unknown, and how long
	// the others took.
	Calm        int           `json:"calm"`
	CalmUnknown int           `json:"calm_unknown"`
	P50         time.Duration `json:"p50"`
	P99         time.Duration `json:"p99"`
}

// Fault is one kind of fault.
type Fault struct {
	Kind  string        `json:"kind"`
	Times int           `json:"times"`
	P50   time.Duration `json:"p50"` // from the round's last healing to well, and a second
	Max   time.Duration `json:"max"`
}

var verbs = []history.Verb{
	history.Start, history.Pause, history.Resume, history.Stop, history.Session, history.Runtime, history.Batch, history.List,
}

// New sums a run up. What processes hold that is not flat is a violation.
func New(seed uint64, h *history.History, found check.Result, held []soak.Series) *Report {
	r := &Report{
		Seed: seed, Operations: len(h.Ops), Events: len(h.Events), Views: len(h.Views), Slow: len(h.Pulses),
		Violations: found.Violations, Reads: found.Reads, Fresh: found.Fresh, Faults: faults(h), Held: held,
	}
	for _, s := range held {
		if s.Problem != "" {
			r.Violations = append(r.Violations, check.Violation{Invariant: check.Flat, Text: s.Problem})
		}
	}
	uids := map[string]bool{}
	for _, p := range h.Pods {
		if p.Node != "" {
			uids[p.UID] = true
		}
	}
	r.Pods = len(uids)
	for _, f := range h.Faults {
		r.Rounds = max(r.Rounds, f.Round)
	}
	for _, v := range verbs {
		r.Answers = append(r.Answers, answers(v, h))
	}
	for _, o := range h.Ops {
		r.Took = max(r.Took, o.Returned)
	}
	return r
}

func answers(v history.Verb, h *history.History) Answers {
	a := Answers{Verb: v, Of: map[history.Outcome]int{}, HTTP: map[string]int{}}
	var took []time.Duration
	for _, o := range h.Ops {
		if o.Verb != v {
			continue
		}
		a.Total++
		a.Of[o.Outcome]++
		code := "none"
		if o.HTTP != 0 {
			code = strconv.Itoa(o.HTTP)
		}
		a.HTTP[code]++
		if h.MetFault(&o) {
			continue
		}
		a.Calm++
		if o.Outcome == history.Unknown {
			a.CalmUnknown++
			continue
		}
		took = append(took, o.Returned-o.Invoked)
	}
	a.P50, a.P99 = quantile(took, 0.5), quantile(took, 0.99)
	return a
}

func faults(h *history.History) (out []Fault) {
	healed := map[int]time.Duration{} // of two faults in a round the one that lasted longer
	for _, f := range h.Faults {
		healed[f.Round] = max(healed[f.Round], f.Healed)
	}
	took := map[string][]time.Duration{}
	for _, f := range h.Faults {
		took[f.Kind] = append(took[f.Kind], f.Calm-healed[f.Round])
	}
	for _, kind := range slices.Sorted(maps.Keys(took)) {
		out = append(out, Fault{Kind: kind, Times: len(took[kind]), P50: quantile(took[kind], 0.5), Max: quantile(took[kind], 1)})
	}
	return out
}

// quantile is 0 where there is nothing.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[int(q*float64(len(all)-1))].Round(time.Millisecond)
}

// JSON writes all of it.
func (r *Report) JSON(out io.Writer) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// shown is how many violations of one invariant the text has; one bug often shows
// itself a thousand times.
const shown = 5

// Text writes what a person wants to know.
func (r *Report) Text(out io.Writer) error {
	var w writer
	w.line("seed %d: %d operations in %d fault rounds, %s", r.Seed, r.Operations, r.Rounds, r.Took.Round(time.Second))
	w.line("%d pods ran, %d events, %d views, %d slow moments of the machine", r.Pods, r.Events, r.Views, r.Slow)
	w.line("%d sandboxes in answers were judged, %d of them on another gateway within 2 s after a change that it had to show", r.Reads, r.Fresh)
	w.line("")
	w.line("%-8s %7s %7s %7s %7s %7s %7s %7s  %s", "verb", "total", "ok", "absent", "unknown", "other", "p50", "p99", "unknown without a fault; HTTP")
	for _, a := range r.Answers {
		w.line("%-8s %7d %7d %7d %7d %7d %7s %7s  %d of %d; %v", a.Verb, a.Total, a.Of[history.OK], a.Of[history.Absent], a.Of[history.Unknown],
			a.Of[history.Refused]+a.Of[history.Malformed], a.P50, a.P99, a.CalmUnknown, a.Calm, a.HTTP)
	}
	w.line("")
	w.line("%-14s %5s  %s", "fault", "times", "from healed to a second after all was well: p50, at most")
	for _, f := range r.Faults {
		w.line("%-14s %5d  %s %s", f.Kind, f.Times, f.P50, f.Max)
	}
	w.line("")
	w.held(r.Held)
	if len(r.Violations) == 0 {
		w.line("no violations")
	}
	times := map[string]int{}
	for _, v := range r.Violations {
		if times[v.Invariant]++; times[v.Invariant] > shown {
			continue
		}
		w.line("VIOLATION of %q: %s", v.Invariant, v.Text)
		for _, p := range v.Piece {
			w.line("    %s", p)
		}
	}
	for _, invariant := range slices.Sorted(maps.Keys(times)) {
		w.line("%d violations of %q", times[invariant], invariant)
	}
	_, err := out.Write(w)
	return err
}

type writer []byte

func (w *writer) line(format string, args ...any) { *w = fmt.Appendf(*w, format+"\n", args...) }

// held is what processes hold. Memory is in MiB.
func (w *writer) held(all []soak.Series) {
	if len(all) == 0 {
		return
	}
	w.line("%-15s %-14s %7s %7s %7s %7s %7s  %-22s %-22s", "held by", "", "samples", "first", "median", "highest", "last", "by time: early late", "by age: young old")
	for _, s := range all {
		unit := int64(1)
		if s.Figure == history.Memory {
			unit = 1 << 20
		}
		trend := func(t soak.Trend) string {
			return fmt.Sprintf("%d %d, at most %d", t.Early/unit, t.Late/unit, t.Limit/unit)
		}
		w.line("%-15s %-14s %7d %7d %7d %7d %7d  %-22s %-22s", s.Kind, s.Figure, s.Samples,
			s.First/unit, s.Median/unit, s.Highest/unit, s.Last/unit, trend(s.Time), trend(s.Age))
	}
	if !all[0].Judged {
		w.line("the run was shorter than %s: what is held is shown, and not judged", soak.Shortest)
	}
	w.line("")
}
