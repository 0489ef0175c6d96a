// Package command runs one command: it decides what becomes of the record,
// writes that by compare-and-swap, makes the objects follow, writes the view.
// Every verb takes this one path.
package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/failpoint"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/cluster"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/quota"
)

// Records reads and swaps records. cluster.ErrMoved: read again.
type Records interface {
	Record(ctx context.Context, name string) (*sandbox.Record, error)
	CreateRecord(ctx context.Context, r *sandbox.Record) (*sandbox.Record, error)
	UpdateRecord(ctx context.Context, prev, next *sandbox.Record) (*sandbox.Record, error)
	DeleteRecord(ctx context.Context, r *sandbox.Record) error
}

// Objects reads and changes what records have.
type Objects interface {
	Check(*sandbox.Spec) error
	Requests(*sandbox.Spec) (cpu, memory int64)
	Pod(ctx context.Context, name string) (*sandbox.Pod, error)
	Pods(ctx context.Context, record string) ([]sandbox.Pod, uint64, error)
	Objects(ctx context.Context, record string) ([]sandbox.Object, error)
	ObjectsOf(ctx context.Context, runtimeID string) ([]sandbox.Object, error)
	CreateVolume(ctx context.Context, r *sandbox.Record, look cluster.Look) error
	CreatePod(ctx context.Context, r *sandbox.Record, look cluster.Look) (*sandbox.Pod, error)
	CreateRoute(ctx context.Context, r *sandbox.Record, look cluster.Look) error
	DeletePod(ctx context.Context, p *sandbox.Pod) error
	DeleteObject(ctx context.Context, o *sandbox.Object) error
}

// Views writes views.
type Views interface {
	Put(ctx context.Context, key string, src views.Source, now time.Time) (views.Present, error)
}

// Cluster is what a Runner needs of Kubernetes.
type Cluster interface {
	Records
	Objects
}

// Router makes the route of a new sandbox.
type Router func(tenant, sessionID, runtimeID string) sandbox.Route

// Runner runs commands. Its methods may be called concurrently.
type Runner struct {
	Cluster Cluster
	Places  *quota.Keeper // of what keys with limits hold
	Views   Views
	Route   Router
	Policy  sandbox.Policy
	Now     func() time.Time
	Omit    sandbox.Omit // 0 but in the interleaving test

	turns turns
}

// Outcome is what the sender of a command is told.
type Outcome struct {
	Err      error // refused
	View     *sandbox.View
	Revision uint64
	// Record is the record as it was converged last; nil where there is none.
	Record *sandbox.Record
	// Silent: a watcher's command, nobody waits.
	Silent bool
	// Fence is the record's where it is above the command's sequence: a later
	// command was accepted, or the stream is not what it was.
	Fence uint64
}

// rounds bounds how often a record may move under one attempt.
const rounds = 32

// Run runs a command until the sender can be answered. An error means: nothing
// is known to be wrong with the command, try it again. A *Busy says moreover that
// this attempt left nothing.
func (r *Runner) Run(ctx context.Context, c sandbox.Command, seq uint64) (Outcome, error) {
	name := sandbox.RecordName(c.Tenant, c.SessionID)
	claim := newClaim(c, seq)
	leave := r.turns.enter(ctx, name)
	defer leave()
	for round := range rounds {
		// A session that its sender knows nothing of is new as a rule, and is not looked
		// for: where it is not, the write of its record tells, as it does where another
		// worker was faster. A key with limits is charged before that, and not for a guess.
		guess := round == 0 && c.Verb == sandbox.Start && c.Fresh && c.Limits == nil
		var rec *sandbox.Record
		var err error
		if !guess {
			rec, err = r.Cluster.Record(ctx, name)
		}
		if err != nil {
			return Outcome{}, r.end(ctx, c, claim, err)
		}
		out, err := r.once(ctx, rec, c, claim)
		if guess && err == nil && out.Err != nil && !claim.wrote { // nothing was touched
			claim.touched = false
			continue
		}
		if errors.Is(err, cluster.ErrMoved) {
			continue
		}
		if rec != nil && rec.Fence > seq {
			out.Fence = rec.Fence
		}
		return out, r.end(ctx, c, claim, err)
	}
	return Outcome{}, fmt.Errorf("record %s moved %d times in a row", name, rounds)
}

// end gives back what an attempt took and did not use, where it ends with an
// answer or left nothing else.
func (r *Runner) end(ctx context.Context, c sandbox.Command, claim *claim, err error) error {
	if err != nil && (claim.touched || !undone(err)) {
		return err
	}
	if kept := r.undo(ctx, c, claim); err == nil || kept != nil {
		return err
	}
	return &Busy{After: RetryAfter(err), Err: err}
}

func (r *Runner) once(ctx context.Context, rec *sandbox.Record, c sandbox.Command, claim *claim) (Outcome, error) {
	claim.last = rec
	facts := sandbox.Facts{Sequence: claim.seq, Now: r.Now(), Omit: r.Omit}
	var pod *sandbox.Pod
	if rec != nil && rec.Desired == sandbox.Running && wantsPod(c.Verb) {
		var err error
		pod, err = r.Cluster.Pod(ctx, sandbox.PodName(rec.RuntimeID, rec.Incarnation))
		if err != nil {
			return Outcome{}, err
		}
		facts.Ending = sandbox.Ending(rec, pod)
		facts.Failed = !facts.Ending && sandbox.Failed(rec, pod, r.Policy, facts.Now)
	}
	effect := sandbox.Decide(rec, c, facts)
	if facts.Ending && effect.Next != nil && c.Verb != sandbox.Reconcile {
		if err := r.showEnding(ctx, rec, pod); err != nil {
			return Outcome{}, err
		}
	}
	silent := c.Bound()
	claim.touched = claim.touched || effect.Next == nil // what follows changes objects or places
	switch {
	case effect.Drop:
		return Outcome{Silent: true}, r.release(ctx, rec)
	case effect.Refuse != nil && rec != nil && rec.Fence == claim.seq:
		return r.takenBack(ctx, rec, effect.Refuse)
	case effect.Refuse != nil:
		return Outcome{Err: effect.Refuse}, r.release(ctx, rec)
	case effect.Purge:
		return Outcome{Silent: true}, r.purge(ctx, rec)
	}
	var before *sandbox.Record
	var made fresh
	if effect.Next != nil {
		if !facts.Ending && specChanged(rec, effect.Next) {
			if err := r.Cluster.Check(&effect.Next.Spec); err != nil {
				return Outcome{Err: err}, nil
			}
		}
		next, err := r.write(ctx, rec, effect, c, claim)
		if err != nil {
			var refused *sandbox.Error
			if errors.As(err, &refused) {
				return Outcome{Err: refused}, nil
			}
			return Outcome{}, err
		}
		before, rec = rec, next
		claim.last, claim.wrote = rec, true
		made = freshBy(before, rec, facts.Now)
	}
	if !r.Omit.Has(sandbox.OmitReleaseLast) {
		if err := r.leave(ctx, before, rec); err != nil {
			return Outcome{}, err
		}
	}
	// A pod that is merely missing has left nothing that has another name.
	how := manner{wait: roomWait, list: c.Verb == sandbox.Reconcile && c.PodUID != ""}
	if silent { // nobody waits for it, and it comes again
		how.wait = 0
	}
	out, err := r.settle(ctx, rec, made, how)
	if err != nil && cluster.Permanent(err) && wantsPod(c.Verb) {
		switch {
		case c.Verb == sandbox.Reconcile: // the watcher asks again, as long as it is needed
			return Outcome{Err: err, Record: rec, Silent: true}, r.tell(ctx, rec, err)
		case effect.Next == nil:
			return r.rollBackBegun(ctx, rec, err)
		}
		return r.rollBack(ctx, before, rec, err)
	}
	out.Silent = silent
	return out, err
}

// wantsPod: what such a command does depends on the pod that is there.
func wantsPod(v sandbox.Verb) bool {
	return v == sandbox.Start || v == sandbox.Resume || v == sandbox.Reconcile
}

// specChanged: a start that brings a spec of its own. Anything else runs one that
// was checked when it came.
func specChanged(rec, next *sandbox.Record) bool {
	return next.Desired == sandbox.Running &&
		(rec == nil || rec.Desired == sandbox.Stopped || rec.Desired == sandbox.Running && rec.Incarnation != next.Incarnation)
}

// write makes ids and keys where the decision asks for new ones, and swaps.
func (r *Runner) write(ctx context.Context, rec *sandbox.Record, e sandbox.Effect, c sandbox.Command, claim *claim) (*sandbox.Record, error) {
	next := e.Next
	if next.RuntimeID == "" {
		next.RuntimeID = sandbox.NewRuntimeID()
		if rec == nil {
			next.Original = next.RuntimeID
		}
		next.Route = r.Route(next.Tenant, next.SessionID, next.RuntimeID)
		next.KeyNumber++
		next.SessionKey, next.SecretKey = sandbox.NewKey(), sandbox.NewKey()
	} else if e.RotateKey {
		next.KeyNumber++
		next.SessionKey = sandbox.NewKey()
	}
	if !r.Omit.Has(sandbox.OmitTakeFirst) {
		if err := r.take(ctx, e, c, claim); err != nil {
			return nil, err
		}
	}
	if r.Omit.Has(sandbox.OmitReleaseLast) {
		if err := r.leave(ctx, rec, next); err != nil {
			return nil, err
		}
	}
	// Reading took time. A start whose sender has given up, or an attempt that
	// should have ended, must not bring to life what a later command, already
	// answered, has stopped and a purge has forgotten.
	if !r.Omit.Has(sandbox.OmitLateCheck) {
		if e.Expires && !c.Deadline.IsZero() && !r.Now().Before(c.Deadline) {
			return nil, sandbox.Errorf(sandbox.CodeExpired, "the deadline passed before anything was done")
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	var err error
	before := claim.touched
	claim.touched = true // unless it is certain that it was not done
	if rec == nil {
		next, err = r.Cluster.CreateRecord(ctx, next)
	} else {
		next, err = r.Cluster.UpdateRecord(ctx, rec, next)
	}
	err = failpoint.After(ctx, "provisioner/after-record", err)
	if undone(err) {
		claim.touched = before
	}
	if err == nil && r.Omit.Has(sandbox.OmitTakeFirst) {
		e.Next = next
		err = r.take(ctx, e, c, claim)
	}
	return next, err
}

// showEnding shows what takes the pod away that is to be replaced: the watcher may
// not have said it yet, and would not any more.
func (r *Runner) showEnding(ctx context.Context, rec *sandbox.Record, pod *sandbox.Pod) error {
	var seen observed
	if seen.take(rec, pod); seen.pod == nil {
		return nil // another record's
	}
	_, err := r.show(ctx, rec, seen, fresh{})
	if errors.Is(err, views.ErrMoved) {
		return nil // whoever moved it shows it
	}
	return err
}

// settle converges and writes the view, again as long as the record moves.
func (r *Runner) settle(ctx context.Context, rec *sandbox.Record, made fresh, how manner) (Outcome, error) {
	for range rounds {
		seen, err := r.converge(ctx, rec, made, how)
		if err == nil {
			var present views.Present
			if present, err = r.show(ctx, rec, seen, made); err == nil {
				return Outcome{View: present.View, Revision: present.Revision, Record: rec}, nil
			}
		}
		if !errors.Is(err, views.ErrMoved) && !errors.Is(err, cluster.ErrMoved) {
			return Outcome{Record: rec}, err
		}
		if rec, err = r.Cluster.Record(ctx, rec.Name); err != nil {
			return Outcome{}, err
		}
		if rec == nil {
			return Outcome{Err: sandbox.Errorf(sandbox.CodeOvertaken, "overtaken by a later command")}, nil
		}
		made = fresh{}
	}
	return Outcome{}, fmt.Errorf("record %s moved %d times in a row", rec.Name, rounds)
}

// show writes the view. A key that is absent is made for a record that is live: one
// that this attempt has made is, for nothing purges it before the attempt must end
// (PURGE_AFTER); of any other the API server is asked. The key of one that this
// attempt has made is taken for absent as long as nobody else shows it: what is written
// so is a sandbox' first view, with the first numbers of its events, in whatever bucket.
func (r *Runner) show(ctx context.Context, rec *sandbox.Record, seen observed, made fresh) (views.Present, error) {
	now := r.Now()
	younger := func(d time.Duration) bool { return !made.record.IsZero() && r.Now().Sub(made.record) < d }
	var known *views.Present
	if younger(sandbox.FirstShown) {
		known = &views.Present{}
	}
	p, err := r.Views.Put(ctx, contract.ViewKey(rec.Tenant, rec.Name), views.Source{
		Known: known,
		Observe: func(prev *sandbox.View) sandbox.View {
			v, _ := sandbox.Observe(rec, seen.pod, prev, seen.order, r.Policy, now)
			v.Refused(seen.refusal)
			return v
		},
		Live: func(ctx context.Context) (bool, error) {
			if younger(sandbox.LongestAttempt) {
				return true, nil
			}
			live, err := r.Cluster.Record(ctx, rec.Name)
			return live != nil && live.UID == rec.UID && live.Generation == rec.Generation, err
		},
		Born: rec.CreatedAt,
	}, now)
	return p, failpoint.After(ctx, "provisioner/after-view", err)
}

// Follow converges again if the record moved since it was converged: whoever moved
// it may have looked before this one's last object was there. It is called after
// the reply and before the ack.
func (r *Runner) Follow(ctx context.Context, out Outcome) error {
	rec := out.Record
	for range rounds {
		if rec == nil {
			return nil
		}
		live, err := r.Cluster.Record(ctx, rec.Name)
		if err != nil {
			return err
		}
		if live == nil || live.ResourceVersion == rec.ResourceVersion {
			return nil
		}
		next, err := r.settle(ctx, live, fresh{}, manner{})
		if cluster.Permanent(err) {
			return nil // whoever moved it tells it, and takes it back where that is to be
		}
		if err != nil {
			return err
		}
		rec = next.Record
	}
	return nil
}

// purge removes a record that has nothing left. The watcher asks again while
// pods are still ending: their keys stand in it.
func (r *Runner) purge(ctx context.Context, rec *sandbox.Record) error {
	seen, err := r.converge(ctx, rec, fresh{}, manner{})
	if err != nil {
		return err
	}
	if seen.pods > 0 {
		return nil
	}
	if err := r.release(ctx, rec); err != nil {
		return err
	}
	failpoint.Hit(ctx, "provisioner/before-purge")
	return failpoint.After(ctx, "provisioner/after-purge", r.Cluster.DeleteRecord(ctx, rec))
}
