package observer

import (
	"context"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/watcher/internal/podwatch"
)

const (
	// settle is how long after a record's change nothing is called drift: the
	// provisioner that changed it is still making the objects follow.
	settle = 3 * time.Second
	// patience is how long drift must last: records and pods come by two watches.
	patience = time.Second
)

// command sends what is due for a record and says when to look again.
func (o *Observer) command(ctx context.Context, seen podwatch.Seen, m *memory, now time.Time) (time.Time, error) {
	next, err := o.reconcile(ctx, seen, m, now)
	if err != nil {
		return time.Time{}, err
	}
	purge, err := o.purge(ctx, seen.Record, m, now)
	return earlier(next, purge), err
}

// reconcile asks for one where the cluster is not as the record wants it.
func (o *Observer) reconcile(ctx context.Context, seen podwatch.Seen, m *memory, now time.Time) (time.Time, error) {
	c, drift := sandbox.Drift(seen.Record, seen.Pods, nil, 0)
	if !drift {
		m.drift = nil
		return time.Time{}, o.objects(ctx, seen, m, now)
	}
	pod := podOf(seen.Record, seen.Pods)
	wait, ending := patience, pod != nil && pod.Terminating && pod.UID == c.PodUID
	if ending {
		wait = m.replaceAfter()
	}
	nag := begun(&m.drift)
	at := nag.due("pod "+c.PodUID, wait, m.since.Add(settle), now)
	if now.Before(at) {
		return at, nil
	}
	if err := o.commands.Send(ctx, c, now); err != nil {
		return time.Time{}, err
	}
	if ending && nag.sent == 0 {
		m.replaced++
	}
	nag.done(now)
	return nag.due(nag.cause, 0, time.Time{}, now), nil
}

// objects judges volumes, Services and routes, once for each list of them: a
// list soon shows what is gone already.
func (o *Observer) objects(ctx context.Context, seen podwatch.Seen, m *memory, now time.Time) error {
	if seen.ObjectsAt.Equal(m.judged) || !seen.ObjectsAt.After(m.since.Add(settle)) {
		return nil
	}
	if c, drift := sandbox.Drift(seen.Record, seen.Pods, seen.Objects, 0); drift {
		if err := o.commands.Send(ctx, c, now); err != nil {
			return err
		}
	}
	m.judged = seen.ObjectsAt
	return nil
}

// purge asks for the end of a stopped record. Its age is measured by our own
// clock too: the provisioner's, which wrote it, may be behind.
func (o *Observer) purge(ctx context.Context, r *sandbox.Record, m *memory, now time.Time) (time.Time, error) {
	c, due, stopped := sandbox.PurgeDue(r)
	if !stopped {
		m.purge = nil
		return time.Time{}, nil
	}
	due = due.Add(o.cfg.PurgeAfter - sandbox.PurgeAfter)
	if own := m.since.Add(o.cfg.PurgeAfter); due.Before(own) {
		due = own
	}
	nag := begun(&m.purge)
	at := nag.due("stopped", 0, due, now)
	if now.Before(at) {
		return at, nil
	}
	if err := o.commands.Send(ctx, c, now); err != nil {
		return time.Time{}, err
	}
	nag.done(now)
	return nag.due("stopped", 0, due, now), nil
}
