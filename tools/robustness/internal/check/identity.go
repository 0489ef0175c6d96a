package check

import (
	"fmt"
	"time"

	"github.com/sandbar-io/sandbar/tools/robustness/internal/history"
)

// oneID: as long as nobody asked for a stop, all starts of a session lead to the
// same sandbox.
func (s *session) oneID() (out []Violation) {
	var prev *change
	for i := range s.changes {
		c := &s.changes[i]
		if !c.certain || c.Verb != history.Start {
			continue
		}
		if prev != nil && prev.id != c.id && !s.stopBetween(prev.Invoked, max(prev.Returned, c.Returned)) {
			out = append(out, violation(OneID, fmt.Sprintf("a start answers %s, another before it %s, and nobody stopped it", c.id, prev.id), prev.Op, c.Op))
		}
		prev = c
	}
	return out
}

func (s *session) stopBetween(begin, end time.Duration) bool {
	for i := range s.changes {
		c := &s.changes[i]
		if c.Verb == history.Stop && c.Invoked <= end && c.end >= begin {
			return true
		}
	}
	return false
}

// neverBack: what one process showed of a session, it never shows an older state
// of again. Changes are counted in the order in which they were asked for; one
// that nobody answered may stand anywhere until its end.
func (s *session) neverBack() (out []Violation) {
	by := map[string][]read{}
	for _, r := range s.reads {
		if !r.seen.Absent && r.Client != "end" {
			by[r.Gateway] = append(by[r.Gateway], r)
		}
	}
	for _, reads := range by {
		out = append(out, s.onOne(reads)...)
	}
	return out
}

// seenAt is the lowest number of changes that an answer can be of.
type seenAt struct {
	read
	number int
}

func (s *session) onOne(reads []read) (out []Violation) {
	var done seenAt // the newest state of all answers that were there before
	var open []seenAt
	for _, r := range reads {
		left := open[:0]
		for _, o := range open {
			switch {
			case o.Returned >= r.Invoked:
				left = append(left, o)
			case o.number > done.number:
				done = o
			}
		}
		open = left
		number, ok := s.lowest(r, done.number)
		if !ok {
			if _, known := s.lowest(r, 0); known { // else it was never true: judge says so
				out = append(out, violation(NeverBack, fmt.Sprintf("%s showed %s, and later %s", r.Gateway, describe(done.seen), describe(r.seen)), done.only(), r.only()))
			}
			continue
		}
		open = append(open, seenAt{r, number})
	}
	return out
}

// lowest is the first change from least on that explains what was seen.
func (s *session) lowest(r read, least int) (int, bool) {
	for i := range s.changes {
		c := &s.changes[i]
		if c.Invoked > r.Returned {
			break
		}
		if s.explains(c, r) && s.latest(c, i) >= least {
			return max(i, least), true
		}
	}
	return 0, false
}

// latest is the number of the last change that c may come after.
func (s *session) latest(c *change, i int) int {
	for i+1 < len(s.changes) && s.changes[i+1].Invoked <= c.end {
		i++
	}
	return i
}

// ends: at rest a sandbox that runs is ready, or says why not.
func (s *session) ends() (out []Violation) {
	for _, r := range s.reads {
		if r.Client != "end" || r.seen.Absent {
			continue
		}
		switch {
		case r.seen.Status == "running" && r.seen.PodStatus == "ready",
			r.seen.Status == "error" && r.seen.Detail != "",
			r.seen.Status == "paused", r.seen.Status == "stopped":
		default:
			out = append(out, violation(Ends, fmt.Sprintf("at rest %s shows %s, %s", r.Gateway, describe(r.seen), r.seen.PodStatus), r.seen))
		}
	}
	return out
}

// rest: every gateway answered for every session in the end.
func rest(h *history.History) (out []Violation) {
	for i := range h.Ends {
		if e := &h.Ends[i]; e.Problem != "" {
			out = append(out, violation(Ends, e.Problem, e))
		}
	}
	return out
}

// ids: a runtime id belongs to one session of one tenant.
func ids(h *history.History) (out []Violation) {
	owner := map[string]*history.Op{}
	for i := range h.Ops {
		o := &h.Ops[i]
		for _, s := range o.Seen {
			if s.RuntimeID == "" || o.Outcome != history.OK {
				continue
			}
			first := owner[s.RuntimeID]
			if first == nil {
				owner[s.RuntimeID] = &history.Op{Tenant: o.Tenant, Session: s.Session, Client: o.Client, Verb: o.Verb, Gateway: o.Gateway, Returned: o.Returned}
			} else if first.Tenant != o.Tenant || first.Session != s.Session {
				out = append(out, violation(OneID, fmt.Sprintf("%s is of %s/%s and of %s/%s", s.RuntimeID, first.Tenant, first.Session, o.Tenant, s.Session), first, o))
			}
		}
	}
	return out
}
