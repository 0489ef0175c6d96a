package command

import (
	"context"
	"errors"
	"slices"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/quota"
)

// claim is what one attempt took of its key's ledger. The place that it mints is
// its own: another attempt of the same command has another, so that neither
// gives back what the other one uses.
type claim struct {
	seq   uint64
	place string
	taken []quota.Ticket
	last  *sandbox.Record // as it was read or written last
	wrote bool

	touched bool // something was written, or may have been, but for what was taken
}

func newClaim(c sandbox.Command, seq uint64) *claim {
	out := &claim{seq: seq}
	if c.Limits != nil {
		out.place = sandbox.NewPlace()
	}
	return out
}

// take takes the place that a write needs, before it: what runs is always
// counted, whoever dies when.
func (r *Runner) take(ctx context.Context, e sandbox.Effect, c sandbox.Command, claim *claim) error {
	if !e.Takes && !e.Counts {
		return nil
	}
	next := e.Next
	if next.Holder != "" && next.Place == "" {
		next.Place = claim.place
	}
	t := quota.Ticket{Record: next.Name, Place: next.Place, Command: claim.seq}
	t.CPU, t.Memory = r.Cluster.Requests(&next.Spec)
	var err error
	if e.Counts {
		err = r.Places.Note(ctx, c.Tenant, next.Holder, t, r.Now())
	} else {
		err = r.Places.Take(ctx, c.Tenant, *c.Limits, t, r.Now())
	}
	if err == nil && !slices.Contains(claim.taken, t) { // taken again after the record moved
		claim.taken = append(claim.taken, t)
	}
	return err
}

// undo takes back what was taken for a write that did not happen. Where it
// cannot, the place goes when somebody needs it.
func (r *Runner) undo(ctx context.Context, c sandbox.Command, claim *claim) error {
	var errs []error
	for _, t := range claim.taken {
		used := claim.wrote
		if t.Place != "" {
			used = claim.last != nil && claim.last.Desired == sandbox.Running && claim.last.Place == t.Place
		}
		if !used {
			errs = append(errs, r.Places.Undo(ctx, c.Tenant, c.Limits.Key, t))
		}
	}
	return errors.Join(errs...)
}

// leave gives back the place that a write has ended the use of.
func (r *Runner) leave(ctx context.Context, before, rec *sandbox.Record) error {
	if before != nil && before.Desired == sandbox.Running && before.Holder != "" && before.Place != rec.Place {
		if err := r.Places.Release(ctx, before); err != nil {
			return err
		}
	}
	return r.release(ctx, rec)
}

// release gives back the place of a record that does not run. A redelivered
// command comes here too: it may be that an attempt died before it did.
func (r *Runner) release(ctx context.Context, rec *sandbox.Record) error {
	if rec == nil || rec.Holder == "" || rec.Desired == sandbox.Running {
		return nil
	}
	return r.Places.Release(ctx, rec)
}
