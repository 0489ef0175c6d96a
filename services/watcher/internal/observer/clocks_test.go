package observer_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/watcher/internal/observer"
	"github.com/sandbar-io/sandbar/services/watcher/internal/testbed"
	"github.com/sandbar-io/sandbar/services/watcher/internal/witness"
)

// newClockBench is a bench with a sandbox that is ready, idle after a minute.
func newClockBench(t *testing.T) (*bench, *sandbox.Record, string) {
	t.Helper()
	b := newBench(t)
	r := b.born("s")
	minute := int64(60)
	r.Spec.Lifecycle = &sandbox.Lifecycle{Idle: &minute}
	b.world.Set(r, 10, testbed.ReadyPod(r, 10))
	b.signs.signs = sandbox.Signs{Known: true, Claimed: true}
	return b, r, testbed.Key(r)
}

func TestAnIdleSandboxIsPaused(t *testing.T) {
	t.Parallel()
	b, r, key := newClockBench(t)
	again := b.look(key)
	if got := again.Sub(r.ChangedAt); got != time.Minute {
		t.Errorf("looks again after %v", got)
	}
	if got := b.after(2*time.Minute, key); len(got) != 0 || len(b.signs.asked) != 1 {
		t.Fatalf("sent %+v, asked %v: want the agent server's word first", got, b.signs.asked)
	}
	if got := b.after(time.Minute, key); len(got) != 0 || len(b.signs.asked) != 2 {
		t.Fatalf("it did not answer: sent %+v, asked %v", got, b.signs.asked)
	}
	b.signs.at, b.signs.answer = b.clock.at, 90*time.Second
	b.sent.fail = errors.New("no stream")
	if _, err := b.o.Look(t.Context(), key); err == nil {
		t.Error("a command that was not sent is taken as sent")
	}
	b.sent.fail = nil
	got := b.after(0, key)
	if len(got) != 1 || got[0].Verb != sandbox.Pause || got[0].Generation != r.Generation || got[0].RecordUID != r.UID || got[0].Reason != "it was idle for 1m0s" {
		t.Fatalf("%+v", got)
	}
	if got := b.after(time.Second, key); len(got) != 0 {
		t.Errorf("sent again at once: %+v", got)
	}
	b.signs.at = b.clock.at.Add(5 * time.Second)
	if got := b.after(5*time.Second, key); len(got) != 1 {
		t.Errorf("not sent again although it still runs: %+v", got)
	}
	r.Generation++
	r.Desired, r.ChangedAt, r.Reason = sandbox.Paused, b.clock.at, "it was idle for 1m0s"
	b.world.Set(r, 12)
	if got := b.after(time.Hour, key); len(got) != 0 {
		t.Errorf("paused: %+v", got)
	}
	if v := b.view(key); v.Status != sandbox.StatusPaused || v.StatusDetail != r.Reason {
		t.Errorf("%s because %q", v.Status, v.StatusDetail)
	}
}

func TestOneThatWorksIsNotPaused(t *testing.T) {
	t.Parallel()
	b, _, key := newClockBench(t)
	b.look(key)
	b.signs.at, b.signs.answer = b.clock.at.Add(2*time.Minute), time.Second
	if got := b.after(2*time.Minute, key); len(got) != 0 || len(b.signs.asked) != 0 {
		t.Errorf("sent %+v, asked %v", got, b.signs.asked)
	}
}

// While nobody is known to have watched, no clock ends, however late it seems.
func TestAnUnknownTimeEndsNoClock(t *testing.T) {
	t.Parallel()
	b, r, key := newClockBench(t)
	b.look(key)
	b.signs.lost = true
	b.signs.at, b.signs.answer = b.clock.at.Add(1000*time.Hour), 1000*time.Hour
	if got := b.after(1000*time.Hour, key); len(got) != 0 {
		t.Errorf("sent %+v", got)
	}
	b.signs.lost = false
	b.signs.line = sandbox.Timeline{{From: r.ChangedAt, To: b.clock.at}}
	b.signs.signs.Floor = r.ChangedAt
	b.signs.answer = 0
	if got := b.after(0, key); len(got) != 0 {
		t.Errorf("after a gap: sent %+v", got)
	}
}

// The system's clock jumps 45 s ahead, which a hand-over of leaders might take too, then a day, then ten years: each of the clocks goes on
// where it was, and ends when its time is over.
func TestAJumpOfTheClockEndsNobody(t *testing.T) {
	t.Parallel()
	minute := int64(60)
	for name, c := range map[string]struct {
		lifecycle sandbox.Lifecycle
		change    func(*sandbox.Record)
		pod       func(*sandbox.Record, uint64) sandbox.Pod // nil: none
		unclaimed bool
		want      sandbox.Verb
	}{
		"idle":        {lifecycle: sandbox.Lifecycle{Idle: &minute}, pod: testbed.ReadyPod, want: sandbox.Pause},
		"maximum age": {lifecycle: sandbox.Lifecycle{MaxAge: &minute}, pod: testbed.ReadyPod, want: sandbox.Pause},
		"pending":     {lifecycle: sandbox.Lifecycle{Pending: &minute}, pod: testbed.Pod, want: sandbox.Stop},
		"unclaimed":   {lifecycle: sandbox.Lifecycle{Unclaimed: &minute}, pod: testbed.ReadyPod, unclaimed: true, want: sandbox.Stop},
		"retention":   {lifecycle: sandbox.Lifecycle{Retention: &minute}, change: func(r *sandbox.Record) { r.Desired = sandbox.Paused }, want: sandbox.Stop},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			var monotonic time.Duration
			w := witness.New(func() (time.Time, time.Duration) { return b.clock.at, monotonic })
			w.Begin(b.clock.at, nil)
			b.witness = w
			b.o = b.observerWith(func(*observer.Config) {})
			r := b.born("s")
			r.Spec.Lifecycle = &c.lifecycle
			if c.change != nil {
				c.change(r)
			}
			if b.world.Set(r, 10); c.pod != nil {
				b.world.Set(r, 10, c.pod(r, 10))
			}
			b.signs.signs = sandbox.Signs{Known: true, Claimed: !c.unclaimed}
			key := testbed.Key(r)
			after := func(system, real time.Duration) []sandbox.Command {
				monotonic += real
				b.signs.at, b.signs.answer = b.clock.at.Add(system), monotonic // the agent server counts real time
				defer w.Beat()
				return b.after(system, key)
			}
			for _, jump := range []time.Duration{0, 45 * time.Second, 24 * time.Hour, 10 * 365 * 24 * time.Hour} {
				if got := append(after(jump+time.Second, time.Second), after(10*time.Second, 10*time.Second)...); len(got) > 0 {
					t.Fatalf("%v after a jump by %v: %+v", monotonic, jump, got)
				}
			}
			for range 20 {
				if got := after(6*time.Second, 6*time.Second); len(got) > 0 {
					if got[0].Verb != c.want || monotonic < time.Minute {
						t.Errorf("after %v of real time: %+v", monotonic, got)
					}
					return
				}
			}
			t.Errorf("nothing was sent within %v of real time", monotonic)
		})
	}
}

func TestThePausedAndTheStopped(t *testing.T) {
	t.Parallel()
	b, r, key := newClockBench(t)
	r.Desired = sandbox.Paused
	b.world.Set(r, 11)
	b.o = b.observerWith(func(c *observer.Config) { c.Clocks.Retention = time.Hour })
	b.look(key)
	got := b.after(time.Hour+time.Second, key)
	if len(got) != 1 || got[0].Verb != sandbox.Stop {
		t.Fatalf("paused for too long: %+v", got)
	}
	r.Desired, r.Generation = sandbox.Stopped, r.Generation+1
	b.world.Set(r, 12)
	for _, c := range b.after(100*time.Hour, key) {
		if c.Verb != sandbox.Purge {
			t.Errorf("stopped: %+v", c)
		}
	}
}
