package command_test

import (
	"fmt"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/cluster"
)

// leave puts there what a worker of long ago has made for the record as it was then.
func (b *bench) leave(change func(*sandbox.Record)) {
	b.t.Helper()
	r := b.record()
	change(r)
	if _, err := b.CreatePod(b.t.Context(), r, cluster.LookFirst); err != nil {
		b.t.Fatal(err)
	}
	if err := b.CreateVolume(b.t.Context(), r, cluster.LookFirst); err != nil {
		b.t.Fatal(err)
	}
	b.forget()
}

func (b *bench) lists() int { return b.count[listPods] + b.count[listObjects] }

// Pods of all that a record has had go, whether they can be named or must be listed:
// a worker of long ago may have died before it deleted them.
func TestWhatWasLeftGoes(t *testing.T) {
	t.Parallel()
	again := func(times int) func(*bench) {
		return func(b *bench) {
			for range times {
				b.do(sandbox.Pause)
				b.do(sandbox.Resume)
			}
		}
	}
	first := func(r *sandbox.Record) { r.Incarnation = 1 }
	for name, tt := range map[string]struct {
		before func(*bench)
		left   func(*sandbox.Record)
		lists  int // of a stop: of pods and of volumes
	}{
		"the second pod":      {again(1), first, 0},
		"the eighth pod":      {again(7), first, 0},
		"a pod after that":    {again(8), first, 1},
		"the record is older": {func(b *bench) { b.change(func(r *sandbox.Record) { r.Original = "" }); again(1)(b) }, first, 2},
		"the sandbox before": {
			func(b *bench) {
				id := b.record().RuntimeID
				b.do(sandbox.Stop)
				b.do(sandbox.Start)
				b.leave(func(r *sandbox.Record) { r.RuntimeID, r.Incarnation = id, 1 })
			},
			func(r *sandbox.Record) { r.Incarnation = 1 }, 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := inSituation(t, running)
			tt.before(b)
			b.leave(tt.left)
			incarnation := b.record().Incarnation
			b.do(sandbox.Stop)
			b.is(fmt.Sprintf("stopped %d, 0 pods, 0 objects, stopped", incarnation))
			if n := b.lists(); n != tt.lists {
				t.Errorf("%d lists, want %d: %v", n, tt.lists, b.calls)
			}
		})
	}
}

// A first pod that is lost has left nothing behind, and nothing is listed for it: a node
// that goes has many.
func TestALostPodIsMadeAgainWithoutALook(t *testing.T) {
	t.Parallel()
	b := inSituation(t, running)
	clear(b.pods)
	if out, err := b.Run(t.Context(), b.bound(sandbox.Reconcile), 1); err != nil || out.Err != nil {
		t.Fatalf("%v, %+v", err, out)
	}
	b.is("running 1, 1 pods, 2 objects, starting")
	if b.lists() != 0 {
		t.Errorf("%v", b.calls)
	}
}

// A record stays while any of its pods is ending, whichever incarnation it is.
func TestPurgeWaitsForAnEarlierPod(t *testing.T) {
	t.Parallel()
	b := inSituation(t, running)
	b.do(sandbox.Pause)
	b.do(sandbox.Resume)
	b.leave(func(r *sandbox.Record) { r.Incarnation = 1 })
	b.do(sandbox.Stop)
	b.leave(func(r *sandbox.Record) { r.Incarnation = 1 })
	for _, p := range b.pods {
		p.Terminating = true
	}
	for _, want := range []int{0, 1} {
		if out, err := b.Run(t.Context(), b.bound(sandbox.Purge), 1); err != nil || out.Err != nil {
			t.Fatalf("%v, %+v", err, out)
		}
		if n := b.count[deleteRecord]; n != want || b.lists() != 0 {
			t.Fatalf("%d deletes of the record, want %d: %v", n, want, b.calls)
		}
		clear(b.pods)
	}
}

// What bears a record's labels and no name that it has given is the watcher's to find,
// and a reconcile's to delete.
func TestStraysGo(t *testing.T) {
	t.Parallel()
	for _, s := range []situation{running, paused, stopped} {
		t.Run(string(s), func(t *testing.T) {
			t.Parallel()
			b := inSituation(t, s)
			want := b.world()
			b.leave(func(r *sandbox.Record) { r.RuntimeID = "stray" })
			c := b.bound(sandbox.Reconcile)
			c.PodUID = "the stray's"
			if out, err := b.Run(t.Context(), c, 1); err != nil || out.Err != nil {
				t.Fatalf("%v, %+v", err, out)
			}
			b.is(want)
		})
	}
}

// Of two pauses at the same time the later is shown, though the earlier looks at the pod
// when that is ending already. A client whose answer was lost knows its own by that.
func TestTheLaterOfTwoPausesIsShown(t *testing.T) {
	t.Parallel()
	b := inSituation(t, running)
	b.linger = true
	c, seq := b.command(sandbox.Pause)
	b.before[getPod] = func(n int) error {
		if n == 1 {
			later, at := b.command(sandbox.Pause)
			if _, err := b.another().Run(t.Context(), later, at); err != nil {
				t.Error(err)
			}
		}
		return nil
	}
	out, err := b.Run(t.Context(), c, seq)
	if err != nil {
		t.Fatal(err)
	}
	clear(b.pods) // it has ended
	if err := b.Follow(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	if shown, last := b.views[viewKey].LastCommand, b.record().LastCommand; shown != last || last == c.ID {
		t.Errorf("shows %s, the record has %s", shown, last)
	}
}

// A second command that changes nothing but the fence is shown, with no pod to tell
// which is newer.
func TestASecondPauseIsShown(t *testing.T) {
	t.Parallel()
	b := inSituation(t, paused)
	out := b.do(sandbox.Pause)
	if out.View.LastCommand != b.record().LastCommand {
		t.Errorf("shows %s, the record has %s", out.View.LastCommand, b.record().LastCommand)
	}
}
