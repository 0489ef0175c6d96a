package command

import (
	"context"
	"errors"
	"fmt"

	"github.com/sandbar-io/sandbar/pkg/failpoint"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/cluster"
)

// rollBack takes a start or resume back that Kubernetes will never carry out, so
// that the caller gets a clean no and nothing is left: a new sandbox is stopped,
// one that was paused is paused again. One that had failed stays, failed.
func (r *Runner) rollBack(ctx context.Context, before, rec *sandbox.Record, cause error) (Outcome, error) {
	var back sandbox.Desired
	switch {
	case before == nil || before.Desired == sandbox.Stopped:
		back = sandbox.Stopped
	case before.Desired == sandbox.Paused:
		back = sandbox.Paused
	default:
		return Outcome{Err: cause, Record: rec}, r.tell(ctx, rec, cause)
	}
	for range rounds {
		next := rec.Clone()
		next.Generation++
		next.Desired, next.ChangedAt = back, r.Now()
		if back == sandbox.Stopped {
			next.Spec = sandbox.Spec{}
		}
		next, err := r.Cluster.UpdateRecord(ctx, rec, next)
		if err = failpoint.After(ctx, "provisioner/after-rollback", err); err == nil {
			if err := r.release(ctx, next); err != nil {
				return Outcome{}, err
			}
			out, err := r.settle(ctx, next, fresh{}, manner{})
			if err != nil {
				return Outcome{}, err
			}
			return Outcome{Err: cause, Record: out.Record}, nil
		}
		if !errors.Is(err, cluster.ErrMoved) {
			return Outcome{}, err
		}
		live, err := r.Cluster.Record(ctx, rec.Name)
		if err != nil {
			return Outcome{}, err
		}
		if live == nil || live.UID != rec.UID || live.Generation != rec.Generation {
			return Outcome{Err: cause}, nil // a later command has it now
		}
		// Only the fence moved: another start joined this one, and leaves it to us
		// unless it was luckier.
		rec = live
		if pod, err := r.Cluster.Pod(ctx, sandbox.PodName(rec.RuntimeID, rec.Incarnation)); pod != nil || err != nil {
			return Outcome{Err: cause}, err
		}
	}
	return Outcome{}, fmt.Errorf("record %s moved %d times in a row", rec.Name, rounds)
}

// rollBackBegun takes back what an attempt before this one wrote and did not
// carry out. Only a young start or resume without a pod is that: a sandbox that
// lost its pod later, or whose pod was replaced, runs on and waits for room.
func (r *Runner) rollBackBegun(ctx context.Context, rec *sandbox.Record, cause error) (Outcome, error) {
	pod, err := r.Cluster.Pod(ctx, sandbox.PodName(rec.RuntimeID, rec.Incarnation))
	if err != nil {
		return Outcome{}, err
	}
	begun, at := rec.Beginning()
	if pod != nil || rec.Generation != begun || r.Now().Sub(at) > sandbox.PurgeAfter {
		return Outcome{Err: cause, Record: rec}, r.tell(ctx, rec, cause)
	}
	before := &sandbox.Record{Desired: sandbox.Paused}
	if rec.CreatedAt.Equal(at) { // the generation made the sandbox
		before.Desired = sandbox.Stopped
	}
	return r.rollBack(ctx, before, rec, cause)
}

// takenBack refuses a command that is the last that the record has accepted, and
// is not what the record wants any more: an attempt before this one took it back,
// and may have died before what it had made was gone.
func (r *Runner) takenBack(ctx context.Context, rec *sandbox.Record, refusal error) (Outcome, error) {
	if err := r.release(ctx, rec); err != nil {
		return Outcome{}, err
	}
	out, err := r.settle(ctx, rec, fresh{}, manner{})
	if err != nil && !cluster.Permanent(err) {
		return Outcome{}, err
	}
	return Outcome{Err: refusal, Record: out.Record}, nil
}

// tell shows what a sandbox waits for that is to run and gets no pod: the words
// of the refusal.
func (r *Runner) tell(ctx context.Context, rec *sandbox.Record, cause error) error {
	pods, order, err := r.Cluster.Pods(ctx, rec.Name)
	if err != nil {
		return err
	}
	seen := observed{order: order, refusal: sandbox.MessageOf(cause)}
	for i := range pods {
		seen.take(rec, &pods[i])
	}
	if _, err = r.show(ctx, rec, seen, fresh{}); errors.Is(err, views.ErrMoved) {
		return nil // whoever moved it shows it
	}
	return err
}
