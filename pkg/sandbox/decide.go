package sandbox

import "time"

// Omit names safety rules of the command protocol that are left out. It exists
// for the interleaving test, which shows for each rule the trace that it
// prevents; a service never sets it. The zero value is the whole protocol.
type Omit uint32

// The rules. Each is described where it is applied.
const (
	OmitFence             Omit = 1 << iota // an older command changes nothing
	OmitResumeIncarnation                  // resume makes a new incarnation
	OmitLateCheck                          // the deadline is looked at again right before the write
	OmitDeleteBound                        // converge deletes nothing newer than its copy of the record
	OmitRuntimeID                          // pause, resume and stop name the sandbox they mean
	OmitPurgeBound                         // purge is bound to the stop that caused it
	OmitGenerationSeed                     // a new record's generation is above any earlier one
	OmitJudgeGeneration                    // a pod newer than the cached record is not judged
	OmitCompareKeys                        // every resync compares all keys of the bucket
	OmitFreshList                          // a bucket is complete only after a list that is younger than it
	OmitUnknownOutcome                     // no reply in time means unknown, never "not done"
	OmitLiveKeyCreate                      // an absent key is created only for a record that a live GET shows
	OmitClockFence                         // a clock's command fits only what no client has asked for since
	OmitTakeFirst                          // a place is taken before the write that makes a record run
	OmitReleaseLast                        // a place is given back after the write that ends its use
	OmitPlaceName                          // what is given back is the place that the record named, no later one
	OmitReplaceEnding                      // a pod that is ending while it is wanted is replaced by the next incarnation's
	OmitAlone                              // what is told to be undone was begun by nobody else
)

// Has reports whether rule is left out.
func (o Omit) Has(rule Omit) bool { return o&rule != 0 }

// Facts is what Decide needs to know besides record and command.
type Facts struct {
	Sequence uint64    // the command's place in the stream
	Now      time.Time // of the decision
	Failed   bool      // the incarnation that the record wants has failed (see Failed)
	Ending   bool      // its pod's name is held by one that is going (see Ending)
	Omit     Omit
}

// Effect says what a provisioner does after a decision.
type Effect struct {
	// Next is the record to be written by compare-and-swap, or created where
	// there was none; nil if the record stays as it is. Next.RuntimeID is empty
	// where a new sandbox is to be made: the shell mints id, route and keys.
	Next *Record
	// Expires is true if the write must not happen after the command's deadline.
	Expires bool
	// RotateKey is true if the write comes with a new session key.
	RotateKey bool
	// Takes is true if the write makes it run for a key with limits: it needs a
	// place first. Counts is true if it runs already and its key has limits: its
	// place is noted if it is not yet, and never refused.
	Takes, Counts bool
	// Purge is true if the record itself is to be deleted.
	Purge bool
	// Drop is true for a watcher's command that no longer fits: nothing is done.
	Drop bool
	// Refuse is what the caller is told; nothing is written.
	Refuse error
}

// Decide says what a command does to a record (nil: there is none). Whatever it
// decides, converge(record) follows unless the effect is Drop or Refuse.
func Decide(r *Record, c Command, f Facts) Effect {
	if c.Bound() || c.Verb == Reconcile || c.Verb == Purge {
		return decideBound(r, c, f)
	}
	if r != nil && f.Sequence <= r.Fence && !f.Omit.Has(OmitFence) {
		return decideOvertaken(r, c)
	}
	if r != nil && c.Verb != Start && r.RuntimeID != c.RuntimeID && !f.Omit.Has(OmitRuntimeID) {
		return refuse(CodeNotFound, "runtime %s is not there any more", c.RuntimeID)
	}
	switch c.Verb {
	case Start:
		return decideStart(r, c, f, late(c, f))
	case Resume:
		return decideResume(r, c, f, late(c, f))
	case Pause:
		return decidePause(r, c, f)
	case Stop:
		return decideStop(r, c, f)
	case Reconcile, Purge: // bound
	}
	return refuse(CodeInvalid, "unknown verb %q", c.Verb)
}

func late(c Command, f Facts) bool { return !c.Deadline.IsZero() && !f.Now.Before(c.Deadline) }

// decideOvertaken answers a command whose sequence is not above the fence: its
// own redelivery, or one that a later command has overtaken. Either way nothing
// is written; the caller gets the view where the record is what it wanted. That
// it may not be after its own redelivery too: the watcher's commands and a start
// that is taken back move no fence.
func decideOvertaken(r *Record, c Command) Effect {
	sameRuntime := c.Verb == Start || c.RuntimeID == r.RuntimeID
	if sameRuntime && r.Desired == wanted(c.Verb) {
		return Effect{}
	}
	return refuse(CodeOvertaken, "overtaken by a later command")
}

func wanted(v Verb) Desired {
	switch v {
	case Pause:
		return Paused
	case Stop:
		return Stopped
	case Start, Resume, Reconcile, Purge:
	}
	return Running
}

func decideStart(r *Record, c Command, f Facts, late bool) Effect {
	if c.Spec == nil {
		return refuse(CodeInvalid, "start carries no spec")
	}
	switch {
	case r == nil:
		if late {
			return expired()
		}
		gen := f.Now.UnixMilli()
		if f.Omit.Has(OmitGenerationSeed) {
			gen = 1
		}
		return Effect{Expires: true, Takes: c.Limits != nil, Next: &Record{
			Name: RecordName(c.Tenant, c.SessionID), Tenant: c.Tenant, SessionID: c.SessionID,
			Desired: Running, Generation: gen, Incarnation: 1, Holder: c.Limits.Holder(),
			Fence: f.Sequence, LastCommand: c.ID, Spec: c.Spec.Clone(),
			CreatedAt: f.Now, ChangedAt: f.Now, Begun: gen, BegunAt: f.Now,
		}}
	case r.Desired == Running && !f.Failed:
		return joinOrReplace(r, c, f, late)
	case late:
		return expired()
	case r.Desired == Paused:
		return run(r, c, f)
	case r.Desired == Stopped:
		e := run(r, c, f)
		e.RotateKey = false // all keys are new
		e.Next.RuntimeID, e.Next.Route = "", Route{}
		e.Next.Spec, e.Next.CreatedAt = c.Spec.Clone(), f.Now
		return e
	default: // failed: the new spec in the old place
		e := run(r, c, f)
		e.RotateKey = false
		e.Next.Spec = c.Spec.Clone()
		return e
	}
}

func decideResume(r *Record, c Command, f Facts, late bool) Effect {
	switch {
	case r == nil || r.Desired == Stopped:
		return refuse(CodeNotFound, "runtime %s is stopped", c.RuntimeID)
	case r.Desired == Running && !f.Failed:
		return joinOrReplace(r, c, f, late)
	case late:
		return expired()
	}
	return run(r, c, f)
}

// joinOrReplace: what runs already is left as it is, but for a pod that is
// ending. Nobody knows when that is over (its node may be lost), and its name is
// taken till then: the next incarnation takes its place. For its client it runs
// all the while: key, charge and clocks stay as they are.
func joinOrReplace(r *Record, c Command, f Facts, late bool) Effect {
	e := join(r, c, f)
	if replacesEnding(f) && !late {
		e.Next, e.Expires = replaced(e.Next, f), true
	}
	return e
}

// replaced puts r, which is the caller's own, under the next incarnation.
func replaced(r *Record, f Facts) *Record {
	advance(r, f)
	r.Incarnation++
	return r
}

func replacesEnding(f Facts) bool { return f.Ending && !f.Omit.Has(OmitReplaceEnding) }

// run makes the record running under a new incarnation: a pod of the old one
// that is still ending, or a command that still means it, must not be taken for
// the new.
func run(r *Record, c Command, f Facts) Effect {
	n := changed(r, c, f)
	n.Desired = Running
	n.Begun, n.BegunAt = n.Generation, f.Now
	n.Holder, n.Place = c.Limits.Holder(), ""
	if r.Desired == Running || !f.Omit.Has(OmitResumeIncarnation) {
		n.Incarnation++
	}
	return Effect{Next: n, Expires: true, RotateKey: c.RotateKey, Takes: c.Limits != nil}
}

// join leaves what runs as it is. Where nobody is charged for it yet, because it
// was started before its key had limits, the caller's key is from now on.
func join(r *Record, c Command, f Facts) Effect {
	n := accepted(r, c, f)
	if n.Holder == "" {
		n.Holder = c.Limits.Holder()
	}
	return Effect{Next: n, Counts: n.Holder != "" && n.Holder == c.Limits.Holder()}
}

func decidePause(r *Record, c Command, f Facts) Effect {
	switch {
	case r == nil || r.Desired == Stopped:
		return refuse(CodeNotFound, "runtime %s is stopped", c.RuntimeID)
	case r.Desired == Paused:
		return Effect{Next: accepted(r, c, f)}
	}
	n := changed(r, c, f)
	n.Desired = Paused
	return Effect{Next: n}
}

func decideStop(r *Record, c Command, f Facts) Effect {
	switch {
	case r == nil:
		return refuse(CodeNotFound, "runtime %s is not there any more", c.RuntimeID)
	case r.Desired == Stopped:
		return Effect{Next: accepted(r, c, f)}
	}
	n := changed(r, c, f)
	n.Desired = Stopped
	n.Spec = Spec{}
	return Effect{Next: n}
}

// decideBound acts for the watcher, only if the record is still what it saw:
// never where the command does not say what that was.
func decideBound(r *Record, c Command, f Facts) Effect {
	if r == nil {
		return Effect{Drop: true}
	}
	fits := r.Generation == c.Generation && r.RuntimeID == c.RuntimeID &&
		(c.RecordUID == "" || r.UID == c.RecordUID)
	switch c.Verb {
	case Purge:
		if f.Omit.Has(OmitPurgeBound) {
			fits = true
		}
		if !fits || r.Desired != Stopped {
			return Effect{Drop: true}
		}
		return Effect{Purge: true}
	case Reconcile:
		if !fits {
			return Effect{Drop: true}
		}
		if r.Desired != Running || !replacesEnding(f) {
			return Effect{}
		}
		n := replaced(accepted(r, c, f), f)
		n.Fence = r.Fence
		return Effect{Next: n}
	case Pause, Stop:
		// Who was idle may have work by now, and who was asked for again is in use.
		fits = fits && !late(c, f) && (c.Fence == r.Fence || f.Omit.Has(OmitClockFence))
		if !fits || r.Desired == Stopped || r.Desired == wanted(c.Verb) {
			return Effect{Drop: true}
		}
		n := changed(r, c, f)
		n.Fence = r.Fence
		n.Desired = wanted(c.Verb)
		if c.Verb == Stop {
			n.Spec = Spec{}
		}
		return Effect{Next: n}
	case Start, Resume:
	}
	return Effect{Drop: true}
}

// accepted is r with nothing changed but the fence.
func accepted(r *Record, c Command, f Facts) *Record {
	n := r.Clone()
	n.Fence, n.LastCommand = f.Sequence, c.ID
	return n
}

// changed is r accepted and one generation on.
func changed(r *Record, c Command, f Facts) *Record {
	n := accepted(r, c, f)
	advance(n, f)
	if c.Bound() {
		n.Reason = c.Reason
	}
	return n
}

// advance puts n one generation on.
func advance(n *Record, f Facts) {
	n.Begun, n.BegunAt = n.Beginning()
	n.Generation++
	n.ChangedAt = f.Now
	n.Reason = ""
}

func refuse(code Code, format string, args ...any) Effect {
	return Effect{Refuse: Errorf(code, format, args...)}
}

func expired() Effect {
	return refuse(CodeExpired, "the deadline passed before anything was done")
}
