package check

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"

	"github.com/sandbar-io/sandbar/tools/robustness/internal/history"
)

// session is all that happened to one session of one tenant.
type session struct {
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
	id      string        // of the sandbox afterwards; "": not known
	settled time.Duration // from then on all processes show it
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
			all[key] = &session{}
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
	out := change{Op: o, end: o.Returned, certain: o.Outcome == history.OK, id: o.RuntimeID, settled: c.settled(o.Returned)}
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
	// An id is never used again: that it is stopped stays true, whatever came after.
	if r.byID() && r.seen.Status == "stopped" && s.stopped(r.seen.RuntimeID, r.Returned) {
		return nil
	}
	var last *change                                 // that the reader must know
	for i := s.before(r.Returned) - 1; i >= 0; i-- { // a late one most often explains it
		c := &s.changes[i]
		if last == nil && c.certain && c.hides(r, exact) {
			last = c
		}
		if s.explains(c, r) && !s.superseded(i, r, exact) {
			return nil
		}
	}
	if last == nil && r.seen.Absent {
		return nil
	}
	v := accuse(r, last, exact)
	return &v
}

func accuse(r read, last *change, exact bool) Violation {
	invariant := Visible
	if exact {
		invariant = Exists
	}
	text := fmt.Sprintf("%s on %s shows %s", r.Verb, r.Gateway, describe(r.seen))
	if last == nil {
		return violation(invariant, text+", and nobody asked for it", r.only())
	}
	after := (r.Invoked - last.Returned).Round(time.Millisecond)
	return violation(invariant, fmt.Sprintf("%s, %s after an acknowledged %s by %s", text, after, last.Verb, last.Gateway), last.Op, r.only())
}

// before is how many changes were asked for by then.
func (s *session) before(at time.Duration) int {
	return sort.Search(len(s.changes), func(i int) bool { return s.changes[i].Invoked > at })
}

// only is the request with nothing but this sandbox in its answer.
func (r read) only() *history.Op {
	o := *r.Op
	o.Seen = []history.Seen{r.seen}
	return &o
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
func (c *change) hides(r read, exact bool) bool {
	if c.Returned >= r.Invoked {
		return false
	}
	return exact || c.Gateway == r.Gateway || c.settled <= r.Invoked
}

// superseded reports whether another change certainly came after the i-th, and
// the reader must know.
func (s *session) superseded(i int, r read, exact bool) bool {
	c := &s.changes[i]
	for j := i + 1; j < len(s.changes) && s.changes[j].Invoked < r.Invoked; j++ {
		d := &s.changes[j]
		if d.certain && d.Invoked > c.end && d.hides(r, exact) && !d.mayMiss(c) {
			return true
		}
	}
	return false
}

// mayMiss: a stop of what is stopped already is answered well, and leaves a
// start alone that came between and that its client never heard of.
func (c *change) mayMiss(start *change) bool {
	return c.Verb == history.Stop && start.Verb == history.Start && start.id != c.id
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

// fresh: see Result.
func (s *session) fresh(r read) bool {
	if r.seen.Absent {
		return false
	}
	for i := s.before(r.Invoked) - 1; i >= 0; i-- {
		if c := &s.changes[i]; c.certain { // the last one
			return c.Gateway != r.Gateway && c.settled <= r.Invoked && c.Returned > r.Invoked-2*time.Second
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
	switch c.Verb {
	case history.Start, history.Resume:
		return live(r.seen.Status) && (c.id == r.seen.RuntimeID || c.id == "")
	case history.Pause:
		return r.seen.Status == "paused" && c.id == r.seen.RuntimeID
	default:
		return r.seen.Status == "stopped" && c.id == r.seen.RuntimeID
	}
}
