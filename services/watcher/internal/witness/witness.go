// Package witness knows which time counts against nobody: time in which no
// watcher watched, or that the system's clock jumped over. The clocks over
// sandboxes ask it what time it is.
package witness

import (
	"slices"
	"sync"
	"time"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

const (
	// patience is how long the heartbeat may stand still before nobody counts as
	// having watched: above any hand-over between two leaders.
	patience = time.Minute
	// jump is how much system time and monotonic time may drift apart between two
	// looks. NTP slews by less; a step, and a machine that slept, are more.
	jump = 5 * time.Second
)

// Clock tells the system's time and a time that never jumps.
type Clock func() (system time.Time, monotonic time.Duration)

// System is the machine's clock.
func System() Clock {
	start := time.Now()
	return func() (time.Time, time.Duration) {
		now := time.Now()
		return now.Round(0), now.Sub(start) // Round drops the monotonic reading
	}
}

// Witness is one term's. Its methods may be called concurrently.
type Witness struct {
	clock Clock

	mu        sync.Mutex
	begun     bool
	beat      time.Time // of the last heartbeat that was written, by whomever
	system    time.Time // at the last look
	monotonic time.Duration
	gaps      sandbox.Timeline
}

// New returns a witness that knows nothing yet.
func New(c Clock) *Witness {
	w := &Witness{clock: c}
	w.system, w.monotonic = c()
	return w
}

// Begin takes over from the leader before: its last heartbeat (the zero time
// where there is none) and its gaps.
func (w *Witness) Begin(last time.Time, gaps []sandbox.Gap) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun, w.beat = true, last
	for _, g := range gaps {
		w.add(g)
	}
}

// Begun reports whether it did.
func (w *Witness) Begun() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.begun
}

// Beat says that a heartbeat was written now: somebody watches, and traffic is
// reported.
func (w *Witness) Beat() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.look()
	if w.gaps.Elapsed(w.beat, now) > patience {
		w.add(sandbox.Gap{From: w.beat, To: now})
	}
	w.beat = now
}

// Now is the time and what of the past does not count. ok is false while nobody
// is known to have watched until now: then no clock ends.
func (w *Witness) Now() (now time.Time, line sandbox.Timeline, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now = w.look()
	return now, slices.Clone(w.gaps), w.begun && w.gaps.Elapsed(w.beat, now) <= patience
}

// Gaps are what the next leader has to know.
func (w *Witness) Gaps() []sandbox.Gap {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.gaps)
}

// look reads the clock and notes a jump forward. One backward needs no note:
// what was then is in the future now, and nothing is due.
func (w *Witness) look() time.Time {
	system, monotonic := w.clock()
	smooth := w.system.Add(monotonic - w.monotonic)
	if system.Sub(smooth) > jump {
		w.add(sandbox.Gap{From: smooth, To: system})
	}
	w.system, w.monotonic = system, monotonic
	return system
}

// add puts a gap in, joined with those that it touches. Of too many the oldest
// two become one: that forgives the time between them.
func (w *Witness) add(g sandbox.Gap) {
	if !g.From.Before(g.To) {
		return
	}
	all := append(slices.Clone(w.gaps), g)
	slices.SortFunc(all, func(a, b sandbox.Gap) int { return a.From.Compare(b.From) })
	joined := all[:1]
	for _, g := range all[1:] {
		last := &joined[len(joined)-1]
		if g.From.After(last.To) {
			joined = append(joined, g)
		} else if g.To.After(last.To) {
			last.To = g.To
		}
	}
	for len(joined) > contract.MaxGaps {
		joined[1].From = joined[0].From
		joined = joined[1:]
	}
	w.gaps = joined
}
