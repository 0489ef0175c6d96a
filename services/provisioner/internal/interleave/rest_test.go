//go:build apiserver

package interleave_test

import (
	"slices"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// atRest is what must hold when nothing is under way.
func (k *walk) atRest() error {
	rec, err := k.truth.Record(k.ctx, k.name)
	if err != nil {
		return err
	}
	pods, order, err := k.truth.Pods(k.ctx, k.name)
	if err != nil {
		return err
	}
	// What hangs on a lost node nobody can end; nothing may wait for it.
	pods = slices.DeleteFunc(pods, func(p sandbox.Pod) bool { return k.stuck[p.UID] })
	objects, err := k.truth.Objects(k.ctx, k.name)
	if err != nil {
		return err
	}
	if err := k.restingObjects(rec, pods, objects); err != nil {
		return err
	}
	if err := k.restingOrder(rec); err != nil {
		return err
	}
	if err := k.restingPlaces(rec); err != nil {
		return err
	}
	return k.restingViews(rec, pods, order)
}

func (k *walk) restingObjects(rec *sandbox.Record, pods []sandbox.Pod, objects []sandbox.Object) error {
	for i := range pods {
		if p := &pods[i]; rec == nil || !rec.Wants(p.RuntimeID, p.Incarnation) {
			return broken("left", "pod %s is left over", p.Name)
		}
	}
	for i := range objects {
		if o := &objects[i]; rec == nil || !rec.WantsVolume(o.RuntimeID) {
			return broken("left", "volume %s is left over", o.Name)
		}
	}
	if rec != nil && rec.Desired == sandbox.Running && (len(pods) != 1 || len(objects) != 1) {
		return broken("one", "a running sandbox has %d pods and %d volumes", len(pods), len(objects))
	}
	if rec != nil && rec.Desired == sandbox.Stopped {
		return broken("left", "a stopped record is never purged")
	}
	return nil
}

// restingOrder: the final state is that of an operation that no later one,
// answered well, has superseded.
func (k *walk) restingOrder(rec *sandbox.Record) error {
	final := sandbox.Stopped
	if rec != nil {
		final = rec.Desired
	}
	if rec != nil && rec.Reason != "" {
		return k.restingClock(rec)
	}
	any := false
	for _, op := range k.ops {
		if op.state != "done" && op.state != "unknown" {
			continue
		}
		any = any || op.state == "done"
		superseded := false
		for _, later := range k.ops {
			superseded = superseded || later.state == "done" && later.before[op.index]
		}
		// What had been told to be unknown may be done at any later time, but
		// not after its deadline and longest attempt: a stop that came later has
		// the last word.
		for _, later := range k.ops {
			superseded = superseded || op.state == "unknown" && later.state == "done" && later.index > op.index+1 && later.verb == sandbox.Stop && rec != nil && rec.Desired == sandbox.Running && k.purgedSince(later)
		}
		if !superseded && wants(op.verb) == final {
			return nil
		}
	}
	if any {
		return broken("order", "the sandbox is %s in the end, no order of what was answered says so: %s", final, k.history())
	}
	return nil
}

// restingClock: a clock has the last word only over what clients asked for before
// it was sent.
func (k *walk) restingClock(rec *sandbox.Record) error {
	for _, m := range k.msgs {
		if m.command.Reason != rec.Reason {
			continue
		}
		for _, op := range k.ops {
			if op.index >= m.asked && op.state == "done" && wants(op.verb) != rec.Desired {
				return broken("clock", "%s#%d was asked for after the %s of %s, and that has the last word: %s", op.verb, op.index, m.command.Verb, rec.Reason, k.history())
			}
		}
	}
	return nil
}

// purgedSince: the record of a stop has been purged, so all before it is over.
func (k *walk) purgedSince(op *operation) bool {
	for _, m := range k.msgs {
		if m.command.Verb == sandbox.Purge && m.gone && m.seq > op.msg.seq {
			return true
		}
	}
	return false
}

func (k *walk) history() string {
	s := ""
	for _, op := range k.ops {
		s += string(op.verb) + ":" + op.state + " "
	}
	return s
}

func wants(v sandbox.Verb) sandbox.Desired {
	switch v {
	case sandbox.Pause:
		return sandbox.Paused
	case sandbox.Stop:
		return sandbox.Stopped
	default:
		return sandbox.Running
	}
}

// restingViews: the bucket and every gateway show what Kubernetes holds.
func (k *walk) restingViews(rec *sandbox.Record, pods []sandbox.Pod, order uint64) error {
	present, err := k.store.Read(k.ctx, k.key)
	if err != nil {
		return err
	}
	if rec == nil {
		if present.View != nil {
			return broken("phantom", "the bucket shows a sandbox (%s, gen %d) whose record is gone", present.View.Status, present.View.Generation)
		}
		return nil
	}
	var pod *sandbox.Pod
	if len(pods) == 1 {
		pod = &pods[0]
	}
	want, _ := sandbox.Observe(rec, pod, present.View, order, sandbox.DefaultPolicy, k.now)
	if present.View == nil || !sandbox.SameForReaders(&want, present.View) {
		return broken("stale", "the bucket shows %+v, Kubernetes holds %s gen %d inc %d", present.View, want.Status, want.Generation, want.Incarnation)
	}
	for i, g := range k.gateways {
		v := g.mem.Session(tenant, k.sess)
		if v == nil || v.Generation != want.Generation || v.Incarnation != want.Incarnation || v.Status != want.Status {
			return broken("stale", "gateway %d shows %+v, Kubernetes holds %s gen %d", i, v, want.Status, want.Generation)
		}
	}
	return nil
}
