package command

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sandbar-io/sandbar/pkg/failpoint"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/cluster"
)

// observed is what converge saw last.
type observed struct {
	pod   *sandbox.Pod // of the record's incarnation
	order uint64       // of the list, for a view without a pod; 0: nothing was listed
	pods  int          // of this record's UID, ending ones included; of what was looked for

	refusal string // why there is no pod; "" where that is not known
}

// take counts a pod of the record's name.
func (o *observed) take(rec *sandbox.Record, p *sandbox.Pod) {
	if p.RecordUID != rec.UID {
		return
	}
	o.pods++
	if p.RuntimeID == rec.RuntimeID && p.Incarnation == rec.Incarnation {
		o.pod = p
	}
}

const (
	// endingWait is how often converge looks whether what is in its way has ended.
	endingWait = 200 * time.Millisecond
	// roomWait is how long it waits for room that its own ending pods take, where a
	// client waits, who does for 8 s. The watcher asks again instead.
	roomWait = 5 * time.Second
)

// fresh is what an attempt has made by the write that it converges. Of a name that
// it has just given there can be nothing yet, so that nobody has to look: only
// another worker that converges the same record may be faster.
type fresh struct {
	record    time.Time // when it was made, at the earliest; zero: it was there
	runtimeID bool      // the name of volume and route
	pod       bool      // the incarnation
}

func freshBy(before, written *sandbox.Record, began time.Time) (f fresh) {
	if before == nil {
		f.record = began
	}
	f.runtimeID = before == nil || before.RuntimeID != written.RuntimeID
	f.pod = f.runtimeID || before.Incarnation != written.Incarnation
	return f
}

func (f fresh) lookForObjects() cluster.Look { return cluster.Look(!f.runtimeID) }
func (f fresh) lookForPod() cluster.Look     { return cluster.Look(!f.pod) }

// manner is how converge goes about it.
type manner struct {
	wait time.Duration // for room that the record's own ending pods take
	list bool          // look by label, and so for what has no name that the record has given
}

// converge makes the objects follow the record: it creates what is wanted and
// deletes what is not. It is the only code that touches pods, volumes, Services
// and routes.
func (r *Runner) converge(ctx context.Context, rec *sandbox.Record, made fresh, how manner) (observed, error) {
	if rec.Desired != sandbox.Running {
		return r.clean(ctx, rec, made, how)
	}
	var created *sandbox.Pod
	var err error
	first := rec.Incarnation == 1 && rec.KeyNumber == 1
	if first {
		if created, err = r.create(ctx, rec, made); err != nil {
			return observed{}, err
		}
		if created != nil && created.Generation == rec.Generation && !how.list {
			// Its first pod, just made or made by an earlier attempt of the same
			// generation: nothing older can be there.
			return observed{pod: created, order: created.Order, pods: 1}, nil
		}
	}
	// What is not wanted goes first. A sandbox that was stopped a moment ago, and
	// that nobody has cleaned up after yet, shares no volume with the session's next:
	// nothing else would keep both pods from running.
	seen, err := r.clean(ctx, rec, made, how)
	if err != nil || first {
		return seen, err
	}
	created, err = r.create(ctx, rec, made)
	if sandbox.CodeOf(err) == sandbox.CodeQuota {
		created, err = r.replace(ctx, rec, err, how)
	}
	if err != nil {
		return observed{}, err
	}
	if created != nil {
		if seen.pod == nil {
			seen.pods++
		}
		seen.pod, seen.order = created, created.Order
	}
	return seen, nil
}

// create makes volume, pod and route at the same time. The pod is nil where one
// that is ending has its name: that may never be over, and the watcher asks for
// the next incarnation.
func (r *Runner) create(ctx context.Context, rec *sandbox.Record, made fresh) (*sandbox.Pod, error) {
	var pod *sandbox.Pod
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		err := untilEnded(gctx, func() error { return r.Cluster.CreateVolume(gctx, rec, made.lookForObjects()) })
		return failpoint.After(gctx, "provisioner/after-volume", err)
	})
	g.Go(func() error {
		return untilEnded(gctx, func() error { return r.Cluster.CreateRoute(gctx, rec, made.lookForObjects()) })
	})
	g.Go(func() (err error) {
		pod, err = r.Cluster.CreatePod(gctx, rec, made.lookForPod())
		err = failpoint.After(gctx, "provisioner/after-pod", err)
		if errors.Is(err, cluster.ErrEnding) {
			return nil
		}
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return pod, nil
}

// replace deletes the pods of earlier incarnations first, where a quota has no
// room for both: it counts a pod until it is gone.
func (r *Runner) replace(ctx context.Context, rec *sandbox.Record, refusal error, how manner) (*sandbox.Pod, error) {
	over, cancel := context.WithTimeout(ctx, how.wait)
	defer cancel()
	t := time.NewTicker(endingWait)
	defer t.Stop()
	for {
		left, err := r.clean(ctx, rec, fresh{}, how)
		if err != nil {
			return nil, err
		}
		pod, err := r.create(ctx, rec, fresh{})
		if sandbox.CodeOf(err) != sandbox.CodeQuota || left.pods == 0 {
			return pod, err
		}
		select {
		case <-t.C:
		case <-over.Done():
			return nil, refusal
		}
	}
}

// untilEnded tries again while an object of the name is ending, as long as the
// attempt lasts.
func untilEnded(ctx context.Context, try func() error) error {
	t := time.NewTicker(endingWait)
	defer t.Stop()
	for {
		err := try()
		if !errors.Is(err, cluster.ErrEnding) {
			return err
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return err
		}
	}
}

// clean deletes what the record does not want. It looks once: whoever makes something
// of an older generation after that look sees afterwards that the record has moved,
// and cleans up itself (Follow). One is deleted after the other, so that a death after
// one leaves no other under way, which the next attempt would find half done.
func (r *Runner) clean(ctx context.Context, rec *sandbox.Record, made fresh, how manner) (observed, error) {
	var pods []sandbox.Pod
	var objects []sandbox.Object
	var out observed
	look, lctx := errgroup.WithContext(ctx)
	look.Go(func() (err error) {
		pods, out.order, err = r.pods(lctx, rec, made, how)
		return err
	})
	look.Go(func() (err error) {
		objects, err = r.others(lctx, rec, how)
		return err
	})
	if err := look.Wait(); err != nil {
		return observed{}, err
	}
	for i := range pods {
		p := &pods[i]
		out.take(rec, p)
		if p.Terminating || rec.Wants(p.RuntimeID, p.Incarnation) || !r.mayDelete(rec, p.RecordUID, p.Generation) {
			continue
		}
		if err := failpoint.After(ctx, "provisioner/after-delete", r.Cluster.DeletePod(ctx, p)); err != nil {
			return observed{}, err
		}
	}
	for i := range objects {
		o := &objects[i]
		if o.Terminating || rec.WantsVolume(o.RuntimeID) || !r.mayDelete(rec, o.RecordUID, o.Generation) {
			continue
		}
		if err := failpoint.After(ctx, "provisioner/after-delete", r.Cluster.DeleteObject(ctx, o)); err != nil {
			return observed{}, err
		}
	}
	return out, nil
}

// mayDelete: a slow worker must not delete what a newer generation made. Objects
// of another record UID are the garbage collector's.
func (r *Runner) mayDelete(rec *sandbox.Record, recordUID string, generation int64) bool {
	if r.Omit.Has(sandbox.OmitDeleteBound) {
		return true
	}
	return recordUID == rec.UID && generation <= rec.Generation
}
