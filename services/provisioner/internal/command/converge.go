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
	order uint64       // of the list, for a view without a pod
	pods  int          // of this record's UID, ending ones included
}

// endingWait is how often converge looks whether an object whose name it needs
// has ended.
const endingWait = 200 * time.Millisecond

// converge makes the objects follow the record: it creates what is wanted and
// deletes what is not. It is the only code that touches pods, volumes, Services
// and routes.
func (r *Runner) converge(ctx context.Context, rec *sandbox.Record) (observed, error) {
	var created *sandbox.Pod
	if rec.Desired == sandbox.Running {
		var err error
		if created, err = r.create(ctx, rec); err != nil {
			return observed{}, err
		}
		if rec.Incarnation == 1 && rec.KeyNumber == 1 && created.Generation == rec.Generation {
			// Its first pod, just made or made by an earlier attempt of the same
			// generation: nothing older can be there.
			return observed{pod: created, order: created.Order, pods: 1}, nil
		}
	}
	return r.clean(ctx, rec)
}

// create makes volume, pod and route at the same time.
func (r *Runner) create(ctx context.Context, rec *sandbox.Record) (*sandbox.Pod, error) {
	var pod *sandbox.Pod
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer failpoint.Hit("provisioner/after-volume")
		return untilEnded(gctx, func() error { return r.Cluster.CreateVolume(gctx, rec) })
	})
	g.Go(func() error {
		defer failpoint.Hit("provisioner/after-route")
		return untilEnded(gctx, func() error { return r.Cluster.CreateRoute(gctx, rec) })
	})
	g.Go(func() error {
		defer failpoint.Hit("provisioner/after-pod")
		return untilEnded(gctx, func() (err error) {
			pod, err = r.Cluster.CreatePod(gctx, rec)
			return err
		})
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return pod, nil
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

// clean deletes what the record does not want, and looks again until there is
// nothing more to delete.
func (r *Runner) clean(ctx context.Context, rec *sandbox.Record) (observed, error) {
	for {
		pods, order, err := r.Cluster.Pods(ctx, rec.Name)
		if err != nil {
			return observed{}, err
		}
		objects, err := r.Cluster.Objects(ctx, rec.Name)
		if err != nil {
			return observed{}, err
		}
		out := observed{order: order}
		deleted := false
		for i := range pods {
			p := &pods[i]
			if p.RecordUID == rec.UID {
				out.pods++
			}
			if p.RuntimeID == rec.RuntimeID && p.Incarnation == rec.Incarnation && p.RecordUID == rec.UID {
				out.pod = p
			}
			if p.Terminating || rec.Wants(p.RuntimeID, p.Incarnation) || !r.mayDelete(rec, p.RecordUID, p.Generation) {
				continue
			}
			if err := r.Cluster.DeletePod(ctx, p); err != nil {
				return observed{}, err
			}
			deleted = true
			failpoint.Hit("provisioner/after-delete")
		}
		for i := range objects {
			o := &objects[i]
			if o.Terminating || rec.WantsVolume(o.RuntimeID) || !r.mayDelete(rec, o.RecordUID, o.Generation) {
				continue
			}
			if err := r.Cluster.DeleteObject(ctx, o); err != nil {
				return observed{}, err
			}
			deleted = true
			failpoint.Hit("provisioner/after-delete")
		}
		if !deleted {
			return out, nil
		}
	}
}

// mayDelete: a slow worker must not delete what a newer generation made. Objects
// of another record UID are the garbage collector's.
func (r *Runner) mayDelete(rec *sandbox.Record, recordUID string, generation int64) bool {
	if r.Omit.Has(sandbox.OmitDeleteBound) {
		return true
	}
	return recordUID == rec.UID && generation <= rec.Generation
}
