package check

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sandbar-io/sandbar/tools/robustness/internal/history"
)

// session is all that happened to one session of one tenant.
type session struct {
	calm    *calm
	changes []change // by the time they were asked for
	reads   []read   // by the time they were asked for
	failed  bool     // somebody saw it fail: then it is in no list
}

// A change is a request that changes a sandbox, and took effect between Invoked
// and end, or, where it is not certain, perhaps never.
type change struct {
	*history.Op
	end     time.Duration
	certain bool
	id      string // of the sandbox afterwards; "": not known
}

// A read is one sandbox in one answer.
type read struct {
	*history.Op
	seen history.Seen
}

func sessions(h *history.History, c *calm) []*session {
	all := map[string]*session{}
	of := func(tenant, name string) *session {
		key := tenant + "/" + name
		if all[key] == nil {
			all[key] = &session{calm: c}
		}
		return all[key]
	}
	for i := range h.Ops {
		o := &h.Ops[i]
		if o.Verb.Changes() && (o.Outcome == history.OK || o.Outcome == history.Unknown) {
			s := of(o.Tenant, o.Session)
			s.changes = append(s.changes, newChange(o, c))
			continue
		}
		for _, r := range readsOf(o) {
			s := of(o.Tenant, r.seen.Session)
			s.reads = append(s.reads, r)
			s.failed = s.failed || r.seen.Status == "error"
		}
	}
	for i := range h.Ends {
		e := &h.Ends[i]
		if e.Problem != "" { // rest tells
			continue
		}
		s := of(e.Tenant, e.Session)
		s.reads = append(s.reads, read{Op: &history.Op{
			Client: "end", Gateway: e.Gateway, Verb: history.Session, Tenant: e.Tenant, Session: e.Session,
			Invoked: e.At, Returned: e.At, Outcome: history.OK,
		}, seen: e.Seen})
	}
	for _, s := range all {
		slices.SortStableFunc(s.changes, func(a, b change) int { return cmp.Compare(a.Invoked, b.Invoked) })
		slices.SortStableFunc(s.reads, func(a, b read) int { return cmp.Compare(a.Invoked, b.Invoked) })
	}
	var sorted []*session
	for _, key := range slices.Sorted(maps.Keys(all)) {
		sorted = append(sorted, all[key])
	}
	return sorted
}

func newChange(o *history.Op, c *calm) change {
	out := change{Op: o, end: o.Returned, certain: o.Outcome == history.OK, id: o.RuntimeID}
	if !out.certain {
		out.end = c.over(o.Invoked, o.Returned)
	}
	if o.Verb == history.Start {
		out.id = ""
		if len(o.Seen) == 1 {
			out.id = o.Seen[0].RuntimeID
		}
	}
	return out
}

// readsOf are the sandboxes that an answer tells of.
func readsOf(o *history.Op) (out []read) {
	switch {
	case o.Outcome == history.Absent: // also to a pause of what is not there
		return []read{{Op: o, seen: history.Seen{Session: o.Session, RuntimeID: o.RuntimeID, Absent: true}}}
	case o.Outcome != history.OK || o.Aged:
		return nil
	}
	for _, s := range o.Seen {
		out = append(out, read{Op: o, seen: s})
	}
	return out
}

// check judges every read against what the changes allow.
func (s *session) check() (out []Violation) {
	for _, r := range s.reads {
		if v := s.judge(r); v != nil {
			out = append(out, *v)
		}
	}
	out = append(out, s.oneID()...)
	out = append(out, s.neverBack()...)
	return append(out, s.ends()...)
}

// judge looks for a state that explains what a reader saw.
func (s *session) judge(r read) *Violation {
	exact := r.seen.Absent || r.seen.Status == "stopped"
	invariant := Visible
	if exact {
		invariant = Exists
	}
	// An id is never used again: that it is stopped stays true, whatever came after.
	if r.byID() && r.seen.Status == "stopped" && s.stopped(r.seen.RuntimeID, r.Returned) {
		return nil
	}
	initial := true
	var last *change
	for i := range s.changes {
		c := &s.changes[i]
		if c.Invoked > r.Returned {
			break
		}
		if c.certain && s.hides(c, r, exact) {
			initial, last = false, c
		}
		if s.explains(c, r) && !s.superseded(c, r, exact) {
			return nil
		}
	}
	if initial && r.seen.Absent {
		return nil
	}
	text := fmt.Sprintf("%s on %s shows %s", r.Verb, r.Gateway, describe(r.seen))
	if last == nil {
		v := violation(invariant, text+", and nobody asked for it", r.Op)
		return &v
	}
	v := violation(invariant, fmt.Sprintf("%s, %s after an acknowledged %s by %s", text, (r.Invoked-last.Returned).Round(time.Millisecond), last.Verb, last.Gateway), last.Op, r.Op)
	return &v
}

// byID reports whether the read names a sandbox and not a session.
func (r read) byID() bool { return r.Verb == history.Runtime || r.Verb.Changes() }

func describe(s history.Seen) string {
	if s.Absent {
		return "nothing of " + cmp.Or(s.RuntimeID, s.Session)
	}
	return fmt.Sprintf("%s as %s", s.RuntimeID, s.Status)
}

// hides reports whether a reader must know of a certain change: on the gateway
// that answered at once, of existence everywhere at once, of all else once it has
// settled.
func (s *session) hides(d *change, r read, exact bool) bool {
	if d.Returned >= r.Invoked {
		return false
	}
	return exact || d.Gateway == r.Gateway || s.calm.settled(d.Returned) <= r.Invoked
}

// superseded reports whether another change certainly came after c, and the
// reader must know.
func (s *session) superseded(c *change, r read, exact bool) bool {
	for i := range s.changes {
		d := &s.changes[i]
		if d.certain && d.Invoked > c.end && s.hides(d, r, exact) && !d.mayMiss(c) {
			return true
		}
	}
	return false
}

// mayMiss: a stop of what is stopped already is answered well, and leaves a
// start alone that came between and that its client never heard of.
func (d *change) mayMiss(c *change) bool {
	return d.Verb == history.Stop && c.Verb == history.Start && c.id != d.id
}

// stopped reports whether somebody had asked for the end of a sandbox by then.
func (s *session) stopped(id string, by time.Duration) bool {
	for i := range s.changes {
		if c := &s.changes[i]; c.Verb == history.Stop && c.id == id && c.Invoked <= by {
			return true
		}
	}
	return false
}

// explains reports whether a reader sees this once c was the last change.
func (s *session) explains(c *change, r read) bool {
	if r.seen.Absent {
		switch {
		case r.byID(): // that sandbox is not there: stopped, or another's turn
			return c.Verb == history.Stop || c.certain && c.id != r.seen.RuntimeID
		case r.Verb == history.List:
			return c.Verb == history.Stop || c.Verb == history.Pause || s.failed
		}
		return c.Verb == history.Stop
	}
	live := r.seen.Status == "starting" || r.seen.Status == "running" || r.seen.Status == "error"
	switch c.Verb {
	case history.Start, history.Resume:
		return live && (c.id == r.seen.RuntimeID || c.id == "")
	case history.Pause:
		return r.seen.Status == "paused" && c.id == r.seen.RuntimeID
	default:
		return r.seen.Status == "stopped" && c.id == r.seen.RuntimeID
	}
}
