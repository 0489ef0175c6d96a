package witness_test

import (
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/watcher/internal/witness"
)

// clock is moved by the test: pass lets time pass, step sets the system's clock.
type clock struct {
	system    time.Time
	monotonic time.Duration
}

func (c *clock) read() (time.Time, time.Duration) { return c.system, c.monotonic }

func (c *clock) pass(d time.Duration) { c.system, c.monotonic = c.system.Add(d), c.monotonic+d }
func (c *clock) step(d time.Duration) { c.system = c.system.Add(d) }

var start = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func newClock() *clock { return &clock{system: start, monotonic: 5 * time.Second} }

// beats lets time pass as a leader does, a second at a time.
func beats(c *clock, w *witness.Witness, d time.Duration) {
	for range int(d / time.Second) {
		c.pass(time.Second)
		w.Beat()
	}
}

// elapsed is what counts since an instant.
func elapsed(t *testing.T, w *witness.Witness, since time.Time) time.Duration {
	t.Helper()
	now, line, ok := w.Now()
	if !ok {
		t.Fatal("the time is not known")
	}
	return line.Elapsed(since, now)
}

func TestTimeIsNotKnownBeforeSomebodyWatched(t *testing.T) {
	t.Parallel()
	c := newClock()
	w := witness.New(c.read)
	if _, _, ok := w.Now(); ok || w.Begun() {
		t.Error("known before the last heartbeat was read")
	}
	w.Begin(start.Add(-10*time.Second), nil)
	if _, _, ok := w.Now(); !ok {
		t.Error("not known although the leader before beat 10 s ago")
	}
	c.pass(2 * time.Minute) // NATS is away: no heartbeat is written
	if _, _, ok := w.Now(); ok {
		t.Error("known although no heartbeat could be written for two minutes")
	}
	w.Beat()
	if got := elapsed(t, w, start.Add(-10*time.Second)); got != 0 {
		t.Errorf("%v of a time count in which nobody watched", got)
	}
}

func TestAHandOverCounts(t *testing.T) {
	t.Parallel()
	c := newClock()
	w := witness.New(c.read)
	w.Begin(start.Add(-17*time.Second), nil)
	w.Beat()
	if got := elapsed(t, w, start.Add(-time.Hour)); got != time.Hour {
		t.Errorf("%v", got)
	}
}

func TestARestartOfEverythingDoesNotCount(t *testing.T) {
	t.Parallel()
	c := newClock()
	w := witness.New(c.read)
	w.Begin(start.Add(-10*time.Hour), []sandbox.Gap{{From: start.Add(-20 * time.Hour), To: start.Add(-19 * time.Hour)}})
	w.Beat()
	beats(c, w, 10*time.Second)
	if got := elapsed(t, w, start.Add(-21*time.Hour)); got != 10*time.Hour+10*time.Second {
		t.Errorf("%v, want the time that somebody watched", got)
	}
	if n := len(w.Gaps()); n != 2 {
		t.Errorf("%d gaps for the next leader", n)
	}
}

func TestWithoutAHeartbeatNothingBeforeCounts(t *testing.T) {
	t.Parallel()
	c := newClock()
	w := witness.New(c.read)
	w.Begin(time.Time{}, nil)
	w.Beat()
	beats(c, w, 5*time.Second)
	if got := elapsed(t, w, start.Add(-1000*time.Hour)); got != 5*time.Second {
		t.Errorf("%v", got)
	}
}

func TestJumpsOfTheSystemClock(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		step time.Duration
		want time.Duration // that counts since the start, after a minute before the step and one after
	}{
		"a day on":            {24 * time.Hour, 2 * time.Minute},
		"ten years on":        {87600 * time.Hour, 2 * time.Minute},
		"slewed":              {2 * time.Second, 2*time.Minute + 2*time.Second},
		"a day back":          {-24 * time.Hour, 2*time.Minute - 24*time.Hour},
		"a minute on, barely": {time.Minute, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newClock()
			w := witness.New(k.read)
			w.Begin(start, nil)
			beats(k, w, time.Minute)
			k.step(c.step)
			if got := elapsed(t, w, start); got > time.Minute+2*time.Second {
				t.Errorf("right after the step %v count", got) // before any beat
			}
			beats(k, w, time.Minute)
			if got := elapsed(t, w, start); got != c.want {
				t.Errorf("%v count, want %v", got, c.want)
			}
		})
	}
}

// A clock that jumped, and a leader that began after it: the jump lies between
// the last heartbeat and the first of the new leader.
func TestAJumpBetweenTwoLeaders(t *testing.T) {
	t.Parallel()
	c := newClock()
	first := witness.New(c.read)
	first.Begin(start, nil)
	beats(c, first, time.Minute)
	last, gaps := c.system, first.Gaps()
	c.step(24 * time.Hour)
	c.pass(3 * time.Second)
	second := witness.New(c.read)
	second.Begin(last, gaps)
	if _, _, ok := second.Now(); ok {
		t.Error("the time is known before the first heartbeat")
	}
	second.Beat()
	if got := elapsed(t, second, start); got != time.Minute {
		t.Errorf("%v count", got)
	}
}

func TestGapsAreBounded(t *testing.T) {
	t.Parallel()
	c := newClock()
	w := witness.New(c.read)
	w.Begin(start, nil)
	for range 3 * contract.MaxGaps {
		beats(c, w, time.Second)
		c.step(time.Hour)
	}
	w.Beat()
	gaps := w.Gaps()
	if len(gaps) != contract.MaxGaps {
		t.Errorf("%d gaps", len(gaps))
	}
	for i, g := range gaps {
		if !g.From.Before(g.To) || i > 0 && !gaps[i-1].To.Before(g.From) {
			t.Fatalf("gap %d overlaps: %v", i, gaps)
		}
	}
	if got := elapsed(t, w, start); got > 3*contract.MaxGaps*time.Second {
		t.Errorf("%v count", got)
	}
}

func TestNonsenseInAHeartbeat(t *testing.T) {
	t.Parallel()
	c := newClock()
	w := witness.New(c.read)
	w.Begin(start, []sandbox.Gap{
		{From: start, To: start.Add(-time.Hour)},
		{From: start.Add(-3 * time.Hour), To: start.Add(-time.Hour)}, {From: start.Add(-2 * time.Hour), To: start.Add(-time.Hour)},
	})
	w.Beat()
	if got := elapsed(t, w, start.Add(-4*time.Hour)); got != 2*time.Hour {
		t.Errorf("%v: gaps that overlap count twice", got)
	}
}

func TestTheSystemsClock(t *testing.T) {
	t.Parallel()
	c := witness.System()
	a, x := c()
	b, y := c()
	if b.Before(a) || y < x || x < 0 {
		t.Errorf("%v, %v then %v, %v", a, x, b, y)
	}
}
