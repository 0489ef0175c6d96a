package observer

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/failpoint"
	"github.com/sandbar-io/sandbar/pkg/obs"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
)

// remove ends a key that has no record: what stands there is read, the API
// server has no such record, all its events are out, and it still stands there.
// It returns the creation time of the bucket that it looked into.
func (o *Observer) remove(ctx context.Context, key, tenant, name string, order uint64) (time.Time, error) {
	p, err := o.views.Read(ctx, key)
	if err != nil {
		return time.Time{}, err
	}
	if p.View == nil {
		o.forget(key)
		return p.Created, nil
	}
	live, exists, err := o.records.Live(ctx, name)
	if err != nil {
		return time.Time{}, err
	}
	if exists && (live == nil || live.Tenant == tenant) {
		return time.Time{}, views.ErrMoved // the watch has not shown it yet
	}
	if p.View.Status != sandbox.StatusStopped {
		if p, err = o.close(ctx, key, p.View, order); err != nil {
			return time.Time{}, err
		}
	}
	if err := o.events.Publish(ctx, p.View); err != nil {
		return time.Time{}, err
	}
	failpoint.Hit(ctx, "watcher/before-key-delete")
	ok, err := o.views.Delete(ctx, key, p.Revision)
	if err = failpoint.After(ctx, "watcher/after-key-delete", err); err != nil || !ok {
		return time.Time{}, moved(err)
	}
	o.events.Forget(p.View)
	o.forget(key)
	o.meter.Removed.Inc()
	o.log.Info("the key of a record that is gone is removed", zap.String("key", key), obs.RuntimeID(p.View.RuntimeID))
	return p.Created, nil
}

// close says in the view that a sandbox is stopped whose record went without a
// stop, so that its events have an end. A new record of the same session may be
// in the view by now: that one stays as it is.
func (o *Observer) close(ctx context.Context, key string, dead *sandbox.View, order uint64) (views.Present, error) {
	p, err := o.views.Put(ctx, key, views.Source{
		Observe: func(prev *sandbox.View) sandbox.View {
			if prev == nil {
				return *dead // not written: Live says no
			}
			v := *prev.Clone()
			if v.RecordUID == dead.RecordUID {
				v.Status, v.PodStatus, v.StatusDetail = sandbox.StatusStopped, sandbox.PodNotFound, ""
				v.SessionKey, v.Address, v.PodLogs, v.UnreadySince = "", "", "", time.Time{}
				v.Order = max(v.Order, order)
			}
			return v
		},
		Live:      func(context.Context) (bool, error) { return false, nil },
		Born:      dead.CreatedAt,
		Published: func(t sandbox.Transition) bool { return o.events.Published(dead.Tenant, t) },
	}, o.now())
	if err = failpoint.After(ctx, "watcher/after-end", err); err == nil && p.View.RecordUID != dead.RecordUID {
		err = views.ErrMoved
	}
	return p, err
}
