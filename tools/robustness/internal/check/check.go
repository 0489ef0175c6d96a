// Package check judges a recorded history. Each invariant is a function of the
// history alone; what may or may not have happened is never held against anybody.
package check

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sandbar-io/sandbar/tools/robustness/internal/history"
)

// The invariants, as reports name them.
const (
	OnePod    = "one pod per session"
	Exists    = "what was acknowledged exists until it is stopped"
	Visible   = "an acknowledged change is visible"
	NeverBack = "a view never goes back"
	OneID     = "one sandbox per session"
	AsStarted = "a sandbox runs what it was started with"
	Nothing   = "nothing remains of what was stopped"
	Once      = "every event once and in order"
	Ends      = "what was started ends ready, failed with a reason, or stopped"
	Answers   = "answers can be read and fit the request"
	Answered  = "what meets no fault is answered"
	Flat      = "what processes hold stays flat"
	Recovers  = "all services are well again after a fault"
)

// Violation is a promise that was broken.
type Violation struct {
	Invariant string   `json:"invariant"`
	Text      string   `json:"text"`
	Piece     []string `json:"piece"` // the lines of the history that show it, and no others
}

// Result is what a history says.
type Result struct {
	Violations []Violation
	Reads      int // sandboxes in answers that were judged
	// Fresh are those by another process within two seconds after a change that
	// it had to show by then: what the promise of 250 ms was held against.
	Fresh int
}

// History checks all invariants.
func History(h *history.History) Result {
	var out Result
	for _, s := range sessions(h, newCalm(h)) {
		out.Violations = append(out.Violations, s.check()...)
		out.Reads += len(s.reads)
		for _, r := range s.reads {
			if s.fresh(r) {
				out.Fresh++
			}
		}
	}
	for _, check := range []func(*history.History) []Violation{answers, answered, ids, rest, pods, specs, events, views, left, recovered} {
		out.Violations = append(out.Violations, check(h)...)
	}
	return out
}

func violation(invariant, text string, entries ...any) Violation {
	v := Violation{Invariant: invariant, Text: text}
	for _, e := range entries {
		line, err := json.Marshal(e)
		if err != nil {
			line = fmt.Appendf(nil, "%+v", e)
		}
		v.Piece = append(v.Piece, string(line))
	}
	return v
}

// answers: nobody is refused what he may ask, and no answer is nonsense.
func answers(h *history.History) (out []Violation) {
	for i := range h.Ops {
		o := &h.Ops[i]
		switch {
		case o.Outcome == history.Malformed:
			out = append(out, violation(Answers, o.Problem, o))
		case o.Outcome == history.Refused:
			out = append(out, violation(Answers, fmt.Sprintf("a %s that is in order was refused with %d", o.Verb, o.HTTP), o))
		case o.Outcome == history.OK && o.Verb.Changes() && len(o.Seen) == 1 && !fits(o.Verb, o.Seen[0].Status):
			out = append(out, violation(Answers, fmt.Sprintf("a %s is answered with a sandbox that is %s", o.Verb, o.Seen[0].Status), o))
		case o.HTTP == 500:
			out = append(out, violation(Answers, "an internal error", o))
		}
	}
	return out
}

// unanswered is the part of what met no fault that may be unknown, and how many may
// be in any case.
const (
	unanswered = 0.05
	some       = 20
)

// answered: of what is asked while nothing is broken hardly anything ends unknown. A
// service that does nothing at all breaks no other promise.
func answered(h *history.History) (out []Violation) {
	all, unknown := map[history.Verb]int{}, map[history.Verb][]any{}
	for i := range h.Ops {
		o := &h.Ops[i]
		if h.MetFault(o) {
			continue
		}
		all[o.Verb]++
		if o.Outcome == history.Unknown {
			unknown[o.Verb] = append(unknown[o.Verb], o)
		}
	}
	for _, verb := range slices.Sorted(maps.Keys(unknown)) {
		if n := len(unknown[verb]); n > max(some, int(unanswered*float64(all[verb]))) {
			out = append(out, violation(Answered, fmt.Sprintf("%d of %d requests for a %s that met no fault have no answer", n, all[verb], verb), unknown[verb][:shown]...))
		}
	}
	return out
}

// shown is how many of them are told.
const shown = 3

// fits: what an acknowledged change shows is what was asked for.
func fits(v history.Verb, status string) bool {
	switch v {
	case history.Pause:
		return status == "paused"
	case history.Start, history.Resume:
		return live(status)
	default: // no client reads what a stop answers
		return true
	}
}

func live(status string) bool {
	return status == "starting" || status == "running" || status == "error"
}

// left: what is there after everything was stopped.
func left(h *history.History) (out []Violation) {
	for i := range h.Left {
		l := &h.Left[i]
		out = append(out, violation(Nothing, fmt.Sprintf("%s %s is left after everything was stopped", l.Kind, l.Name), l))
	}
	return out
}

func recovered(h *history.History) (out []Violation) {
	for i := range h.Faults {
		if f := &h.Faults[i]; f.Problem != "" {
			out = append(out, violation(Recovers, f.Problem, f))
		}
	}
	return out
}

const (
	// VisibleWithin is what is promised of the gateways that did not answer.
	VisibleWithin = 250 * time.Millisecond
	// lateEffect is how long after a fault is over something that was on its way
	// may still arrive: in a socket's buffer of a process that was stopped.
	lateEffect = 2 * time.Second
)

// calm knows the times at which the installation and the machine were well.
type calm struct {
	faults []span
	all    []span // and the moments at which the machine itself was slow
}

type span struct{ begin, end time.Duration }

func newCalm(h *history.History) *calm {
	c := &calm{}
	for _, f := range h.Faults {
		c.faults = append(c.faults, span{f.Begin, f.Calm})
	}
	c.all = slices.Clone(c.faults)
	for _, p := range h.Pulses {
		c.all = append(c.all, span{p.At - p.Late, p.At + VisibleWithin})
	}
	slices.SortFunc(c.all, func(a, b span) int { return cmp.Compare(a.begin, b.begin) })
	return c
}

// settled is when a change of that time is visible everywhere: once VisibleWithin
// have passed without any fault or slow moment.
func (c *calm) settled(at time.Duration) time.Duration {
	for _, s := range c.all {
		if s.begin < at+VisibleWithin && s.end > at {
			at = s.end
		}
	}
	return at + VisibleWithin
}

// over is until when something that got no answer between begin and end may
// still be taken in.
func (c *calm) over(begin, end time.Duration) time.Duration {
	late := end
	for _, f := range c.faults {
		if f.begin <= end && f.end >= begin {
			late = max(late, f.end+lateEffect)
		}
	}
	return late
}
