package observer_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/watcher/internal/testbed"
)

// after moves the clock, looks, and says how many commands that sent.
func (b *bench) after(d time.Duration, key string) []sandbox.Command {
	b.t.Helper()
	b.clock.at = b.clock.at.Add(d)
	b.look(key)
	return b.sent.take()
}

func TestAMissingPodIsReconciled(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.born("s")
	key := testbed.Key(r)
	b.world.Set(r, 10)
	steps := []struct {
		name  string
		after time.Duration
		sent  int
	}{
		{"just accepted", 0, 0},
		{"the provisioner may be at it", 2900 * time.Millisecond, 0},
		{"three seconds", 200 * time.Millisecond, 1},
		{"at once", 0, 0},
		{"not yet again", 4900 * time.Millisecond, 0},
		{"again after 5 s", 200 * time.Millisecond, 1},
		{"then after 10 s", 9 * time.Second, 0},
		{"then after 10 s, now", 2 * time.Second, 1},
	}
	for _, s := range steps {
		got := b.after(s.after, key)
		if len(got) != s.sent {
			t.Fatalf("%s: %d commands, want %d", s.name, len(got), s.sent)
		}
		if s.sent > 0 && (got[0].Verb != sandbox.Reconcile || got[0].Generation != r.Generation || got[0].RecordUID != r.UID || got[0].PodUID != "") {
			t.Errorf("%s: %+v", s.name, got[0])
		}
	}
	b.world.Set(r, 11, testbed.ReadyPod(r, 11))
	if got := b.after(time.Hour, key); len(got) != 0 {
		t.Errorf("with its pod: %+v", got)
	}
	b.world.Set(r, 12)
	if got := b.after(0, key); len(got) != 0 {
		t.Errorf("a pod that just went: %+v", got)
	}
	if got := b.after(1100*time.Millisecond, key); len(got) != 1 {
		t.Errorf("a pod that is gone for a second: %d commands", len(got))
	}
}

// Something takes each pod away as soon as it is there: the next one comes more and
// more seldom, and at once again after one that was ready.
func TestPodsThatAllEndAreReplacedMoreSeldom(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.born("s")
	key := testbed.Key(r)
	order := uint64(10)
	show := func(change func(*sandbox.Pod)) {
		order++
		pod := testbed.ReadyPod(r, order)
		change(&pod)
		b.world.Set(r, order, pod)
	}
	ends := func(p *sandbox.Pod) { p.Ready, p.Terminating = false, true }
	const tick = 500 * time.Millisecond
	var waits []time.Duration
	replaced := func() time.Duration {
		show(ends)
		for waited := time.Duration(0); ; waited += tick {
			if len(b.after(tick, key)) > 0 {
				r.Generation, r.Incarnation = r.Generation+1, r.Incarnation+1
				return waited + tick
			}
			if waited > time.Hour {
				t.Fatal("it is not replaced any more")
			}
		}
	}
	for range 7 {
		waits = append(waits, replaced().Round(time.Second))
	}
	want := []time.Duration{4 * time.Second, 6 * time.Second, 11 * time.Second, 21 * time.Second, 41 * time.Second, 61 * time.Second, 61 * time.Second}
	for i := range want {
		if d := waits[i] - want[i]; d > time.Second || d < -time.Second {
			t.Fatalf("replaced after %v, want about %v", waits, want)
		}
	}
	show(func(*sandbox.Pod) {})
	b.after(time.Minute, key)
	if got := replaced(); got > 5*time.Second {
		t.Errorf("one that was ready is replaced after %v", got)
	}
}

func TestALookAgainIsAskedForWhenDriftMustLast(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.born("s")
	b.world.Set(r, 10)
	if again := b.look(testbed.Key(r)); again.Sub(b.clock.at) != 3*time.Second {
		t.Errorf("looks again in %v, want 3s", again.Sub(b.clock.at))
	}
}

func TestPodsThatNobodyWants(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.born("s")
	key := testbed.Key(r)
	orphan := testbed.Pod(r, 11)
	r.Generation, r.Incarnation = r.Generation+1, 2
	wanted := testbed.ReadyPod(r, 12)
	b.world.Set(r, 12, orphan, wanted)
	b.after(0, key)
	if got := b.after(4*time.Second, key); len(got) != 1 || got[0].PodUID != orphan.UID {
		t.Errorf("an orphan: %+v", got)
	}
	younger := testbed.ReadyPod(r, 13)
	younger.Generation++
	b.world.Set(r, 13, younger)
	if got := append(b.after(time.Hour, key), b.after(time.Hour, key)...); len(got) != 0 {
		t.Errorf("a pod of a record that has not come yet: %+v", got)
	}
}

func TestObjectsAreJudgedOncePerList(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.born("s")
	r.Desired = sandbox.Stopped
	key := testbed.Key(r)
	b.world.Set(r, 10)
	volume := sandbox.Object{Kind: "PersistentVolumeClaim", UID: "v", RecordUID: r.UID, RuntimeID: r.RuntimeID, Volume: true}
	b.world.ShowObjects(r.Name, b.clock.at.Add(2*time.Second), volume)
	if got := append(b.after(0, key), b.after(4*time.Second, key)...); len(got) != 0 {
		t.Errorf("a list from before the stop had settled is judged: %+v", got)
	}
	b.world.ShowObjects(r.Name, b.clock.at, volume)
	if got := b.after(0, key); len(got) != 1 || got[0].Verb != sandbox.Reconcile || got[0].PodUID != "v" {
		t.Errorf("a volume that nobody wants: %+v", got)
	}
	if got := b.after(10*time.Second, key); len(got) != 0 {
		t.Errorf("the same list again: %+v", got)
	}
}

func TestPurge(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.born("s")
	r.Desired = sandbox.Stopped
	r.ChangedAt = b.clock.at.Add(-time.Hour) // by a clock that may be wrong
	key := testbed.Key(r)
	b.world.Set(r, 10)
	if again := b.look(key); again.Sub(b.clock.at) != sandbox.PurgeAfter {
		t.Errorf("looks again in %v", again.Sub(b.clock.at))
	}
	if got := b.after(sandbox.PurgeAfter-time.Second, key); len(got) != 0 {
		t.Errorf("too early: %+v", got)
	}
	b.sent.fail = errors.New("no stream")
	b.clock.at = b.clock.at.Add(2 * time.Second)
	if _, err := b.o.Look(t.Context(), key); err == nil {
		t.Error("a command that was not sent is taken as sent")
	}
	b.sent.fail = nil
	got := b.after(0, key)
	if len(got) != 1 || got[0].Verb != sandbox.Purge || got[0].Generation != r.Generation || got[0].RecordUID != r.UID {
		t.Fatalf("purge: %+v", got)
	}
	if got := b.after(6*time.Second, key); len(got) != 1 {
		t.Errorf("a record that is still there is not asked for again: %+v", got)
	}
	r.Generation++
	r.Desired = sandbox.Running
	b.world.Set(r, 11, testbed.ReadyPod(r, 11))
	if got := b.after(time.Hour, key); len(got) != 0 {
		t.Errorf("started again: %+v", got)
	}
}

// A pause deletes the pod right after it wrote the record; the two come by two
// watches. Readers must not see the sandbox fall over.
func TestAPauseWhoseRecordComesLate(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.born("s")
	key := testbed.Key(r)
	b.world.Set(r, 10, testbed.ReadyPod(r, 10))
	b.look(key)
	paused := r.Clone()
	paused.Generation++
	paused.Desired = sandbox.Paused
	b.world.SetLive(paused)
	ending := testbed.ReadyPod(r, 12)
	ending.Terminating = true
	for _, pods := range [][]sandbox.Pod{{ending}, nil} {
		b.world.Show(r, 12, pods...)
		if _, err := b.o.Look(t.Context(), key); err == nil {
			t.Error("settled from the old record")
		}
	}
	b.world.Show(paused, 13)
	b.look(key)
	b.wantEvents(sandbox.EventRequested, sandbox.EventStarting, sandbox.EventReady, sandbox.EventPaused)
}

func TestLogsOfAFailedPod(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.born("s")
	key := testbed.Key(r)
	failed := testbed.Pod(r, 11)
	failed.Phase = "Failed"
	b.logs.text, b.logs.known = "panic: no", true
	b.world.Set(r, 11, failed)
	b.look(key)
	if v := b.view(key); v.PodLogs != "panic: no" || v.Status != sandbox.StatusError {
		t.Errorf("%s with logs %q", v.Status, v.PodLogs)
	}
	b.logs.text, b.logs.known = "", false // a new leader, and the node is gone
	failed.Order = 12
	failed.Message = "node lost"
	b.world.Set(r, 12, failed)
	b.look(key)
	if v := b.view(key); v.PodLogs != "panic: no" {
		t.Errorf("logs that were there became %q", v.PodLogs)
	}
}

func TestReadinessGraceEndsByTheClock(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.born("s")
	key := testbed.Key(r)
	pod := testbed.ReadyPod(r, 10)
	b.world.Set(r, 10, pod)
	b.look(key)
	pod.Ready, pod.ContainersReady, pod.Order = false, false, 11
	b.world.Set(r, 11, pod)
	again := b.look(key)
	if v := b.view(key); v.Status != sandbox.StatusRunning || again.Sub(b.clock.at) != sandbox.DefaultPolicy.ReadinessGrace {
		t.Errorf("%s, looks again in %v", v.Status, again.Sub(b.clock.at))
	}
	b.after(again.Sub(b.clock.at), key)
	if v := b.view(key); v.Status != sandbox.StatusStarting {
		t.Errorf("after the grace period: %s", v.Status)
	}
	b.wantEvents(sandbox.EventRequested, sandbox.EventStarting, sandbox.EventReady, sandbox.EventUnready)
}
