package sandbox

import (
	"strings"
	"time"
)

// Clocks are the times of a Lifecycle as they hold for one sandbox; 0: never.
type Clocks struct{ Idle, MaxAge, Retention, Pending, Unclaimed time.Duration }

// For is what the client or its key asked for, and c where they did not.
func (c Clocks) For(l *Lifecycle) Clocks {
	if l == nil {
		return c
	}
	return Clocks{
		Idle: Seconds(l.Idle, c.Idle), MaxAge: Seconds(l.MaxAge, c.MaxAge), Retention: Seconds(l.Retention, c.Retention),
		Pending: Seconds(l.Pending, c.Pending), Unclaimed: Seconds(l.Unclaimed, c.Unclaimed),
	}
}

// Signs are what is known of a sandbox's use, beside its record and pod.
type Signs struct {
	// Known is false while traffic and claims are not known: then nobody is idle
	// or unclaimed.
	Known bool
	// Floor is since when they are known. What was before may have been anything.
	Floor   time.Time
	Traffic time.Time // the last byte that passed a router; zero: none
	// Claimed: a client asked for the sandbox since its last start or resume.
	Claimed bool
	// AskedAt is when the agent server last told how long it has been idle; zero:
	// never, or not this pod's.
	AskedAt time.Time
	Idle    time.Duration
}

// Due is what the clocks say of a sandbox.
type Due struct {
	// Command is to be sent now; nil: none.
	Command *Command
	// Ask: only the agent server can tell now whether the sandbox is idle.
	Ask bool
	// Again is when to look next although nothing changed; zero: never.
	Again time.Time
}

const (
	// askFresh is how old an answer of the agent server may be that a pause rests
	// on.
	askFresh = 10 * time.Second
	// askAgain is when one that did not answer, or not in time, is asked again. A
	// failed answer changes nothing.
	askAgain = 15 * time.Second
	// firstPodWithin is how much later than the record its first pod is made, the
	// difference of two machines' clocks included.
	firstPodWithin = 5 * time.Minute
	// clockPatience is how long a clock's command may wait for a provisioner: it
	// rests on what was seen when it was sent.
	clockPatience = 10 * time.Second
)

// DueBy says what the clocks ask for: pure, and bound to what it saw. line holds
// the time that does not count. v is the view as readers have it.
//
// While it runs: maximum age first, because it asks nobody; then pending and
// unclaimed, which are about a beginning; then idle. A clock whose evidence is
// missing waits.
func DueBy(r *Record, p *Pod, v *View, s Signs, server Clocks, line Timeline, now time.Time) Due {
	w := clockwork{r: r, clocks: server.For(r.Spec.Lifecycle), line: line, now: now}
	_, begun := r.Beginning()
	switch r.Desired {
	case Paused:
		w.after(r.ChangedAt, w.clocks.Retention, Stop, "it was paused for LIMIT")
	case Running:
		w.after(begun, w.clocks.MaxAge, Pause, "it ran for LIMIT, the longest allowed")
		if !served(v, p) {
			w.after(begun, w.clocks.Pending, w.undo(p), "it was not ready within LIMIT"+because(v, p))
		}
		if s.Known && !s.Claimed && s.Traffic.Before(begun) {
			w.after(later(begun, s.Floor), w.clocks.Unclaimed, w.undo(p), "nobody asked for it within LIMIT")
		}
		w.idle(p, v, s)
	case Stopped:
	}
	return w.due
}

// clockwork gathers what is due.
type clockwork struct {
	r      *Record
	clocks Clocks
	line   Timeline
	now    time.Time
	due    Due
}

// left is what of a limit is left since an instant.
func (w *clockwork) left(since time.Time, limit time.Duration) time.Duration {
	return limit - w.line.Elapsed(since, w.now)
}

func (w *clockwork) again(in time.Duration) {
	if at := w.now.Add(in); w.due.Again.IsZero() || at.Before(w.due.Again) {
		w.due.Again = at
	}
}

// after sends verb when a limit has passed; LIMIT in the reason is that. The first
// that is due wins.
func (w *clockwork) after(since time.Time, limit time.Duration, verb Verb, reason string) {
	if limit == 0 || w.due.Command != nil {
		return
	}
	if left := w.left(since, limit); left > 0 {
		w.again(left)
		return
	}
	w.send(verb, strings.Replace(reason, "LIMIT", limit.String(), 1))
}

func (w *clockwork) send(verb Verb, reason string) {
	w.due.Command = &Command{
		Verb: verb, Tenant: w.r.Tenant, SessionID: w.r.SessionID, RuntimeID: w.r.RuntimeID,
		Generation: w.r.Generation, RecordUID: w.r.UID, Fence: w.r.Fence, Reason: cutTo(reason, MaxReason), Deadline: w.now.Add(clockPatience),
	}
}

// undo is how a beginning that came to nothing is taken back: a sandbox that is
// seen to be in its first pod goes, with its empty volume. Any other keeps its
// volume: one that was resumed, and one whose pod is gone, was replaced or came
// much later than the record, for it may have served before and the view that said so was lost.
func (w *clockwork) undo(p *Pod) Verb {
	generation, begun := w.r.Beginning()
	first := p != nil && w.r.Generation == generation && p.CreatedAt.Sub(begun) < firstPodWithin
	if first && w.r.CreatedAt.Equal(begun) {
		return Stop
	}
	return Pause
}

// idle is the clock of who served and is not used. A fresh start or resume has
// one whole period from when it was ready. What failed serves nobody: it needs
// nobody's word.
func (w *clockwork) idle(p *Pod, v *View, s Signs) {
	if w.clocks.Idle == 0 || w.due.Command != nil || !s.Known || v == nil {
		return
	}
	failed := v.Status == StatusError
	if !failed && !served(v, p) {
		return
	}
	since := later(w.r.ChangedAt, later(s.Floor, s.Traffic))
	if !failed && p != nil {
		since = later(since, p.ReadyAt)
	}
	if !s.AskedAt.IsZero() {
		since = later(since, s.AskedAt.Add(-s.Idle))
	}
	switch left := w.left(since, w.clocks.Idle); {
	case left > 0:
		w.again(left)
	case failed || !s.AskedAt.IsZero() && w.line.Elapsed(s.AskedAt, w.now) <= askFresh:
		w.send(Pause, "it was idle for "+w.clocks.Idle.String())
	default:
		w.due.Ask = true
		w.again(askAgain)
	}
}

// served reports whether it has been ready once since its last start or resume.
// The view says so; where it was lost, a container does whose startup probe
// passed, or that was restarted. Not where its client's way to it is known never
// to have been open.
func served(v *View, p *Pod) bool {
	if v != nil && !v.Served && (v.RouteCheck == RouteUnknown || v.RouteCheck == RouteFails) {
		return false
	}
	return v != nil && v.Served || p != nil && (p.Container.Started || p.Container.RestartCount > 0)
}

// because is the detail of a sandbox that did not become ready: what its view says,
// or how far its pod came.
func because(v *View, p *Pod) string {
	switch {
	case v != nil && v.StatusDetail != "":
		return ": " + v.StatusDetail
	case p == nil:
		return ": it has no pod"
	case p.Container.WaitingReason != "":
		return ": " + p.Container.WaitingReason
	case !p.Scheduled:
		return ": its pod has no node"
	case p.Container.Running:
		return ": its container runs, and is not ready"
	default:
		return ": its pod is " + p.Phase
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
