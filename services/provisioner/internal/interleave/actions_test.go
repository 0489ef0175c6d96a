//go:build apiserver

package interleave_test

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
)

// actions lists what can happen next. Faults alone keep no walk going.
func (k *walk) actions() ([]action, error) {
	var acts []action
	add := func(weight int, do func() error, format string, args ...any) {
		acts = append(acts, action{fmt.Sprintf(format, args...), weight, do})
	}
	k.clientActs(add)
	k.workerActs(add)
	k.clusterActs(add)
	k.watcherActs(add)
	k.gatewayActs(add)
	if len(acts) > 0 {
		k.faults(add)
	}
	return acts, k.fault
}

type adder func(weight int, do func() error, format string, args ...any)

func (k *walk) clientActs(add adder) {
	limit := len(k.verbs)
	if limit == 0 {
		limit = 4
	}
	busy := map[int]bool{}
	for _, op := range k.ops {
		if !op.answered {
			busy[op.gateway] = true
		}
	}
	if len(k.ops) < limit {
		for g := range k.gateways {
			if busy[g] {
				continue
			}
			verbs := []sandbox.Verb{sandbox.Start, sandbox.Pause, sandbox.Resume, sandbox.Stop}
			if len(k.verbs) > 0 {
				verbs = k.verbs[len(k.ops) : len(k.ops)+1]
			}
			for _, v := range verbs {
				if v == sandbox.Start || k.clientID != "" {
					add(2, func() error { return k.ask(v, g) }, "client asks gateway %d to %s", g, v)
				}
			}
		}
	}
	for _, op := range k.ops {
		switch {
		case op.answered:
		case op.msg.outcome != nil:
			add(6, func() error { return k.answer(op) }, "gateway %d answers %s#%d", op.gateway, op.verb, op.index)
		case op.msg.late || op.msg.gone:
			add(4, func() error { return k.deadline(op) }, "the deadline of %s#%d passes at gateway %d", op.verb, op.index, op.gateway)
		}
	}
}

func (k *walk) workerActs(add adder) {
	for i, m := range k.msgs {
		if m.gone || k.held(m) {
			continue
		}
		for slot, w := range k.workers {
			if w == nil {
				add(5, func() error { k.deliver(m, slot); return nil }, "p%d gets %s#%d (delivery %d)", slot, m.command.Verb, i, m.delivered+1)
				break
			}
		}
	}
	for slot, w := range k.workers {
		if w == nil {
			continue
		}
		weight := 10
		if slot == 0 && k.slow > 0 && k.rnd.IntN(100) < k.slow {
			weight = 1
		}
		add(weight, func() error { w.step(); k.release(slot); return nil }, "p%d %s (%s)", slot, w.standing, w.msg.command.Verb)
	}
}

func (k *walk) held(m *message) bool {
	for _, w := range k.workers {
		if w != nil && w.msg == m {
			return true
		}
	}
	return false
}

// clusterActs are what Kubernetes does by itself.
func (k *walk) clusterActs(add adder) {
	live, pods, objects := k.snap.live, k.snap.pods, k.snap.objects
	for i := range pods {
		p := &pods[i]
		switch {
		case k.stuck[p.UID]:
			if !k.forever {
				add(1, func() error { delete(k.stuck, p.UID); return nil }, "the node of pod %d is back", p.Incarnation)
			}
		case p.Terminating:
			add(2, func() error { return k.gone(k.ctx, p) }, "pod %d ends", p.Incarnation)
		case live == nil || live.UID != p.RecordUID:
			add(1, func() error { return k.gone(k.ctx, p) }, "the collector deletes pod %d", p.Incarnation)
		case !p.Scheduled:
			add(3, func() error { return k.bind(k.ctx, p) }, "pod %d is scheduled", p.Incarnation)
		case p.Phase == "Pending":
			add(3, func() error { return k.setReady(k.ctx, p) }, "pod %d is ready", p.Incarnation)
		}
	}
	for i := range objects {
		o := &objects[i]
		if o.Terminating {
			add(2, func() error { return k.releaseVolumes(k.ctx, k.name) }, "volume %s goes", o.Name)
		} else if live == nil || live.UID != o.RecordUID {
			add(1, func() error { return k.truth.DeleteObject(k.ctx, o) }, "the collector deletes volume %s", o.Name)
		}
	}
}

// ofKubernetes are the calls of a worker that go to the API server.
var ofKubernetes = regexp.MustCompile(`record|ledger|pod|volume`)

func (k *walk) faults(add adder) {
	for i, m := range k.msgs {
		if m.op != nil && !m.late && k.late > 0 && m.outcome == nil {
			add(1, func() error {
				k.late--
				k.pass(9 * time.Second)
				return nil
			}, "9 s pass, past the deadline of %s#%d", m.command.Verb, i)
		}
		if k.redelivered > 0 && !m.gone && k.held(m) {
			for slot, w := range k.workers {
				if w == nil {
					add(2, func() error { k.redelivered--; k.deliver(m, slot); return nil }, "p%d gets %s#%d again, its worker is silent", slot, m.command.Verb, i)
					break
				}
			}
		}
	}
	for slot, w := range k.workers {
		if w != nil && k.killed > 0 {
			add(1, func() error { k.killed--; k.died = true; w.kill(); k.workers[slot] = nil; return nil }, "p%d dies before it %s (%s)", slot, w.standing, w.msg.command.Verb)
		}
	}
	for slot, w := range k.workers {
		if w != nil && k.busy > 0 && ofKubernetes.MatchString(w.standing) {
			add(2, func() error { k.busy--; w.refuse(); k.release(slot); return nil }, "Kubernetes has no time as p%d %s (%s)", slot, w.standing, w.msg.command.Verb)
		}
	}
	for i := range k.snap.pods {
		p := &k.snap.pods[i]
		if k.vanishing > 0 && !p.Terminating {
			add(1, func() error { k.vanishing--; return k.gone(k.ctx, p) }, "pod %d vanishes", p.Incarnation)
		}
		if k.failing > 0 && !p.Terminating && p.Phase != "Failed" {
			add(1, func() error { k.failing--; return k.setFailed(k.ctx, p) }, "pod %d fails", p.Incarnation)
		}
	}
	k.evictions(add)
	for i, w := range k.watchers {
		if k.restarts == 0 {
			break
		}
		add(1, func() error {
			k.restarts--
			if w.doing != nil {
				w.doing.kill()
			}
			*w = watcher{record: k.snap.live, pods: k.snap.pods, objects: k.snap.objects, order: k.snap.order, known: true}
			return nil
		}, "w%d is restarted", i)
	}
	if k.wipes > 0 {
		add(1, func() error {
			k.wipes--
			if err := k.wipe(k.ctx); err != nil {
				return err
			}
			var err error
			k.made, err = k.created(k.ctx)
			return err
		}, "NATS loses the bucket")
	}
}

// evictions are what takes a pod away that its record wants: with a grace
// period, or for as long as its node is lost.
func (k *walk) evictions(add adder) {
	for i := range k.snap.pods {
		p := &k.snap.pods[i]
		if p.Terminating || !p.Scheduled {
			continue
		}
		if k.evicting > 0 {
			add(1, func() error { k.evicting--; return k.evict(k.ctx, p) }, "pod %d is evicted", p.Incarnation)
		}
		if k.lost > 0 {
			add(1, func() error { k.lost--; k.stuck[p.UID] = true; return k.evict(k.ctx, p) }, "pod %d is lost with its node", p.Incarnation)
		}
	}
}

func (k *walk) watcherActs(add adder) {
	live, pods, order, objects := k.snap.live, k.snap.pods, k.snap.order, k.snap.objects
	for i, w := range k.watchers {
		if w.doing != nil {
			add(6, func() error {
				w.doing.step()
				if w.doing.ended {
					w.doing = nil
				}
				return nil
			}, "w%d %s", i, w.doing.standing)
			continue
		}
		if !sameRecord(w.record, live) {
			add(4, func() error {
				w.deleted = w.record != nil && live == nil || w.deleted && live == nil
				w.record = live
				w.known = true
				return nil
			}, "w%d sees the record", i)
		}
		if !samePods(w.pods, pods) || len(w.objects) != len(objects) || !sameObjects(w.objects, objects) {
			add(4, func() error { w.pods, w.objects, w.order = pods, objects, order; return nil }, "w%d sees the pods", i)
		}
		k.watcherWork(add, w, i)
		k.fullPass(add, w, i)
	}
}

// watcherWork is what follows from a watcher's caches.
func (k *walk) watcherWork(add adder, w *watcher, i int) {
	if c, ok := sandbox.Drift(w.record, w.pods, w.objects, k.omit); ok && !k.queued(c) && w.sent != w.state() {
		add(1, func() error { w.sent = w.state(); _, err := k.publish(c); return err }, "w%d publishes reconcile gen %d", i, c.Generation)
	}
	if r := w.record; k.clocks > 0 && r != nil && r.Desired == sandbox.Running {
		add(1, func() error {
			k.clocks--
			m, err := k.publish(sandbox.Command{
				Verb: sandbox.Pause, RuntimeID: r.RuntimeID, Generation: r.Generation, RecordUID: r.UID, Fence: r.Fence,
				Reason: fmt.Sprintf("clock %d", k.clocks),
			})
			if err == nil {
				m.asked = len(k.ops)
			}
			return err
		}, "w%d's clock publishes a pause, gen %d", i, r.Generation)
	}
	if c, due, ok := sandbox.PurgeDue(w.record); ok && !k.queued(c) {
		add(1, func() error {
			if k.now.Before(due) {
				k.now = due.Add(time.Second)
			}
			k.pass(0)
			_, err := k.publish(c)
			return err
		}, "time passes, w%d publishes purge gen %d", i, c.Generation)
	}
	if k.shows(w) {
		rec, pods, order := w.record, w.pods, w.order
		add(4, func() error {
			w.doing = start(fmt.Sprintf("w%d", i), func(a *actor) error {
				_, err := k.show(a, rec, pods, order)
				return err
			})
			if w.doing.ended {
				w.doing = nil
			}
			return nil
		}, "w%d looks", i)
	}
	if k.drops(w) {
		add(4, func() error {
			w.deleted = false
			w.doing = start(fmt.Sprintf("w%d", i), func(a *actor) error { return k.drop(a) })
			if w.doing.ended {
				w.doing = nil
			}
			return nil
		}, "w%d means to delete the key", i)
	}
}

// pass lets time go by, and tells whose deadlines that were.
func (k *walk) pass(d time.Duration) {
	k.now = k.now.Add(d)
	for _, m := range k.msgs {
		m.late = m.late || m.op != nil && !k.now.Before(m.command.Deadline)
	}
}

// state is what a watcher's caches hold. It asks once for each: it backs off, and
// what it asked for is in the queue until it is done or does not fit any more.
func (w *watcher) state() string {
	s := fmt.Sprint(w.order)
	if w.record != nil {
		s += "/" + w.record.ResourceVersion
	}
	for i := range w.pods {
		s += fmt.Sprintf("/%d", w.pods[i].Order)
	}
	for i := range w.objects {
		s += "/" + w.objects[i].UID
	}
	return s
}

// queued: a watcher sends the same only once while it stands.
func (k *walk) queued(c sandbox.Command) bool {
	for _, m := range k.msgs {
		o := m.command
		if !m.gone && o.Verb == c.Verb && o.Generation == c.Generation && o.PodUID == c.PodUID {
			return true
		}
	}
	return false
}

// show is a watcher's way to write a view.
func (k *walk) show(a *actor, rec *sandbox.Record, pods []sandbox.Pod, order uint64) (views.Present, error) {
	var pod *sandbox.Pod
	for i := range pods {
		if p := &pods[i]; p.RecordUID == rec.UID && p.RuntimeID == rec.RuntimeID && p.Incarnation == rec.Incarnation {
			pod = p
		}
	}
	g := &gatedViews{store: k.stores(), a: a, wrote: func(views.Present) {}}
	return g.Put(k.ctx, k.key, views.Source{
		Observe: func(prev *sandbox.View) sandbox.View {
			v, _ := sandbox.Observe(rec, pod, prev, order, sandbox.DefaultPolicy, k.now)
			return kept(prev, v)
		},
		Live: func(ctx context.Context) (ok bool, err error) {
			err = a.call("reads the record for the key", func() error {
				live, err := k.truth.Record(ctx, k.name)
				ok = live != nil && live.UID == rec.UID && live.Generation == rec.Generation
				return err
			})
			return ok, err
		},
		Born: rec.CreatedAt,
	}, k.now)
}

// kept is v with the last command that the present view has of the generation, as the
// watcher leaves it: its copy of the record may be from before that.
func kept(present *sandbox.View, v sandbox.View) sandbox.View {
	if present != nil && present.RecordUID == v.RecordUID && present.Generation == v.Generation {
		v.LastCommand = present.LastCommand
	}
	return v
}

// drop is a watcher's way to delete a key.
func (k *walk) drop(a *actor) error {
	var p views.Present
	if err := a.call("reads the key", func() (err error) { p, err = k.store.Read(k.ctx, k.key); return err }); err != nil {
		return err
	}
	if p.View == nil {
		return nil
	}
	var live *sandbox.Record
	if err := a.call("reads the record live", func() (err error) { live, err = k.truth.Record(k.ctx, k.name); return err }); err != nil {
		return err
	}
	if live != nil {
		return nil
	}
	return a.call("deletes the key", func() error { _, err := k.store.Delete(k.ctx, k.key, p.Revision); return err })
}

// shows: the caches make a view that a reader could tell from the bucket's.
func (k *walk) shows(w *watcher) bool {
	if w.record == nil {
		return false
	}
	var pod *sandbox.Pod
	for i := range w.pods {
		if p := &w.pods[i]; p.RecordUID == w.record.UID && p.RuntimeID == w.record.RuntimeID && p.Incarnation == w.record.Incarnation {
			pod = p
		}
	}
	present := k.snap.present
	v, _ := sandbox.Observe(w.record, pod, present.View, w.order, sandbox.DefaultPolicy, k.now)
	v = kept(present.View, v)
	if present.View == nil {
		live := k.snap.live
		return live != nil && live.Generation == w.record.Generation || k.omit.Has(sandbox.OmitLiveKeyCreate)
	}
	return sandbox.Newer(&v, present.View) >= 0 && !sandbox.SameForReaders(&v, present.View)
}

// drops: the bucket holds a key whose record is not in the cache. Without the
// comparison of all keys only the deletion itself says so, once.
func (k *walk) drops(w *watcher) bool {
	if w.record != nil || !w.known {
		return false
	}
	if k.omit.Has(sandbox.OmitCompareKeys) && !w.deleted {
		return false
	}
	return k.snap.present.View != nil && k.snap.live == nil
}

// fullPass marks a new bucket as complete.
func (k *walk) fullPass(add adder, w *watcher, i int) {
	if k.complete[k.made] || k.shows(w) {
		return
	}
	if k.omit.Has(sandbox.OmitFreshList) {
		add(2, func() error { k.complete[k.made] = true; return nil }, "w%d marks the bucket complete", i)
		return
	}
	// The pass begins with a list that is younger than the bucket, and writes
	// what it shows before it says complete.
	add(2, func() error {
		w.record, w.pods, w.order, w.known = k.snap.live, k.snap.pods, k.snap.order, true
		k.complete[k.made] = !k.shows(w)
		return nil
	}, "w%d lists anew", i)
}

func (k *walk) gatewayActs(add adder) {
	p := k.snap.present
	for i, g := range k.gateways {
		if !p.Created.Equal(g.created) {
			if k.complete[p.Created] {
				add(3, func() error { return k.rebuild(i) }, "gateway %d sees the new bucket and swaps", i)
			}
			continue
		}
		v := g.mem.Key(k.key)
		behind := v == nil || v.Revision < p.Revision
		if behind && p.View != nil && (v == nil || sandbox.Newer(p.View, v.View) >= 0) || behind && p.View == nil && v != nil {
			add(4, func() error { return k.sync(i) }, "gateway %d catches up", i)
		}
	}
}

func sameRecord(a, b *sandbox.Record) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.UID == b.UID && a.ResourceVersion == b.ResourceVersion
}

func samePods(a, b []sandbox.Pod) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].UID != b[i].UID || a[i].Order != b[i].Order {
			return false
		}
	}
	return true
}

func sameObjects(a, b []sandbox.Object) bool {
	for i := range a {
		if a[i].UID != b[i].UID || a[i].Terminating != b[i].Terminating {
			return false
		}
	}
	return true
}
