package observer

import (
	"context"
	"errors"
	"time"

	"github.com/sandbar-io/sandbar/pkg/failpoint"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
	"github.com/sandbar-io/sandbar/services/watcher/internal/podwatch"
)

// observe brings view, events and commands of a record up to what was seen.
func (o *Observer) observe(ctx context.Context, key string, seen podwatch.Seen, ps *pass) (time.Time, error) {
	r, now := seen.Record, o.now()
	pod := podOf(r, seen.Pods)
	m := o.memory(key, r, pod, now)
	if m.lost(r, pod) {
		if ok, err := o.isLive(ctx, r); err != nil || !ok {
			return time.Time{}, moved(err)
		}
	}
	known := true
	if sandbox.Failed(r, pod, o.cfg.Policy, now) {
		pod.Logs, known = o.logs.Tail(ctx, key, pod)
	}
	o.reached(key, r, pod, m)
	present := o.recall(key, ps)
	if present == nil && ps != nil && !o.young(r, m, now) && !o.shows(key, ps.created) {
		present = ps.vacant(key)
	}
	var again time.Time
	p, err := o.views.Put(ctx, key, views.Source{
		Known: present,
		Observe: func(prev *sandbox.View) sandbox.View {
			v, at := sandbox.Observe(r, pod, prev, seen.Order, o.cfg.Policy, now)
			again = at
			return keep(prev, v, known)
		},
		Live: func(ctx context.Context) (bool, error) {
			if o.young(r, m, now) {
				return false, errYoung
			}
			return o.isLive(ctx, r)
		},
		Born:      r.CreatedAt,
		Published: func(t sandbox.Transition) bool { return o.events.Published(r.Tenant, t) },
	}, now)
	if errors.Is(err, errYoung) {
		return m.since.Add(o.cfg.FirstShown), nil
	}
	if err = failpoint.After(ctx, "watcher/after-view-write", err); err != nil {
		return time.Time{}, err
	}
	o.know(key, p)
	ps.settle(key, p.Created)
	o.route(key, r, pod, m, p.View)
	if err := o.events.Publish(ctx, p.View); err != nil {
		return time.Time{}, err
	}
	failpoint.Hit(ctx, "watcher/after-events")
	next, err := o.command(ctx, seen, m, now)
	if err != nil {
		return time.Time{}, err
	}
	clocks, err := o.clocks(ctx, key, r, pod, p.View, m)
	return earlier(again, earlier(next, clocks)), err
}

// errYoung: the provisioner that has just made the record will show it.
var errYoung = errors.New("the record was made just now")

// keep keeps what the view has and the watcher cannot know better: logs that
// could not be read now, and the last command of a record whose generation did
// not change. The provisioner that accepted that command has shown it; the copy
// seen here may be from before it.
func keep(prev *sandbox.View, v sandbox.View, logsKnown bool) sandbox.View {
	if prev == nil || prev.RecordUID != v.RecordUID || prev.Generation != v.Generation {
		return v
	}
	v.LastCommand = prev.LastCommand
	if !logsKnown {
		v.PodLogs = prev.PodLogs
	}
	return v
}

// podOf is the pod that the record's view is made of: a copy, or nil.
func podOf(r *sandbox.Record, pods []sandbox.Pod) *sandbox.Pod {
	for _, p := range pods {
		if p.RecordUID == r.UID && p.RuntimeID == r.RuntimeID && p.Incarnation == r.Incarnation {
			return &p
		}
	}
	return nil
}

// isLive reports whether the record is still the one that was seen.
func (o *Observer) isLive(ctx context.Context, r *sandbox.Record) (bool, error) {
	live, _, err := o.records.Live(ctx, r.Name)
	return err == nil && live != nil && live.UID == r.UID && live.Generation == r.Generation, err
}

func moved(err error) error {
	if err != nil {
		return err
	}
	return views.ErrMoved
}

// earlier is the earlier of two times, of which the zero one means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
