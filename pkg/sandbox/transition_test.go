package sandbox_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// levels are the views that an observer of events can tell apart.
var levels = map[string]*sandbox.View{
	"accepted": seen(sandbox.StatusStarting, sandbox.PodNotFound),
	"starting": seen(sandbox.StatusStarting, sandbox.PodPending),
	"ready":    seen(sandbox.StatusRunning, sandbox.PodReady),
	"paused":   seen(sandbox.StatusPaused, sandbox.PodNotFound),
	"stopped":  seen(sandbox.StatusStopped, sandbox.PodNotFound),
	"failed":   seen(sandbox.StatusError, sandbox.PodFailed),
}

var levelNames = []string{"accepted", "starting", "ready", "paused", "stopped", "failed"}

func incarnation(n int64) func(*sandbox.View) {
	return func(v *sandbox.View) { v.Generation, v.Incarnation = 1000+n, n }
}

func changedView(v *sandbox.View, change ...func(*sandbox.View)) *sandbox.View {
	v = v.Clone()
	for _, f := range change {
		f(v)
	}
	return v
}

func steps(types []sandbox.EventType) string {
	out := make([]string, len(types))
	for i, t := range types {
		out[i] = string(t)
	}
	return strings.Join(out, " ")
}

func TestStepsWithinAnIncarnation(t *testing.T) {
	t.Parallel()
	// From the row's level to the column's, in the order of levelNames.
	table := map[string][]string{
		"accepted": {"", "starting", "starting ready", "paused", "stopped", "starting failed"},
		"starting": {"", "", "ready", "paused", "stopped", "failed"},
		"ready":    {"unready", "unready", "", "paused", "stopped", "failed"},
		"paused":   {"", "starting", "ready", "", "stopped", "failed"}, // only if a rule is omitted
		"stopped":  {"", "starting", "ready", "paused", "", "failed"},  // never: stopped is the end
		"failed":   {"", "starting", "starting ready", "paused", "stopped", ""},
	}
	for from, row := range table {
		for i, to := range levelNames {
			t.Run(from+" to "+to, func(t *testing.T) {
				t.Parallel()
				if got := steps(sandbox.Steps(levels[from], levels[to], false)); got != row[i] {
					t.Errorf("got %q, want %q", got, row[i])
				}
			})
		}
	}
}

func TestStepsIntoANewIncarnation(t *testing.T) {
	t.Parallel()
	before := map[string]string{
		"starting": "paused resumed", "ready": "paused resumed",
		"accepted": "", "paused": "resumed", "failed": "resumed",
	}
	after := map[string]string{
		"accepted": "", "starting": "starting", "ready": "starting ready", "failed": "starting failed",
		"paused": "paused", "stopped": "stopped",
	}
	for from, left := range before {
		for to, reached := range after {
			t.Run(from+" to "+to, func(t *testing.T) {
				t.Parallel()
				got := steps(sandbox.Steps(levels[from], changedView(levels[to], incarnation(2)), false))
				if want := strings.TrimSpace(left + " " + reached); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			})
		}
	}
}

func TestStepsOfANewSandbox(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"accepted": "requested", "starting": "requested starting", "ready": "requested starting ready",
		"paused": "requested paused", "stopped": "requested stopped", "failed": "requested starting failed",
	}
	for to, want := range want {
		for name, prev := range map[string]*sandbox.View{
			"nothing":         nil,
			"another runtime": changedView(levels["stopped"], func(v *sandbox.View) { v.RuntimeID = runtimeB }),
		} {
			t.Run(name+" to "+to, func(t *testing.T) {
				t.Parallel()
				if got := steps(sandbox.Steps(prev, levels[to], false)); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
				restored := steps(sandbox.Steps(prev, levels[to], true))
				if prev == nil && restored != "restored" || prev != nil && restored != want {
					t.Errorf("after the bucket was lost: %q", restored)
				}
			})
		}
	}
}

func TestAdvance(t *testing.T) {
	t.Parallel()
	now := at(time.Minute)
	numbered := func(runtimeID string, from int64, types ...sandbox.EventType) []sandbox.Transition {
		var out []sandbox.Transition
		for i, typ := range types {
			out = append(out, sandbox.Transition{RuntimeID: runtimeID, Number: from + int64(i), Type: typ, Time: now})
		}
		return out
	}
	first := numbered(runtimeA, 1, sandbox.EventRequested, sandbox.EventStarting)
	why := func(ts []sandbox.Transition, reason string) []sandbox.Transition {
		ts[len(ts)-1].Reason = reason
		return ts
	}
	with := func(v *sandbox.View, ts []sandbox.Transition) *sandbox.View {
		return changedView(v, func(v *sandbox.View) { v.Transitions = ts })
	}
	other := func(v *sandbox.View) { v.RuntimeID = runtimeB }
	for name, c := range map[string]struct {
		prev, next *sandbox.View
		restored   sandbox.Restored
		want       []sandbox.Transition
	}{
		"the first view":   {nil, levels["starting"], sandbox.Restored{}, first},
		"nothing new":      {with(levels["starting"], first), levels["starting"], sandbox.Restored{}, first},
		"numbers go on":    {with(levels["starting"], first), levels["ready"], sandbox.Restored{}, append(slices.Clone(first), numbered(runtimeA, 3, sandbox.EventReady)...)},
		"restored":         {nil, levels["ready"], sandbox.Restored{Yes: true, Number: 1_700_000_000}, numbered(runtimeA, 1_700_000_000, sandbox.EventRestored)},
		"not restored":     {nil, levels["accepted"], sandbox.Restored{Number: 1_700_000_000}, numbered(runtimeA, 1, sandbox.EventRequested)},
		"restored, seen":   {with(levels["ready"], first), levels["paused"], sandbox.Restored{Yes: true, Number: 9}, append(slices.Clone(first), numbered(runtimeA, 3, sandbox.EventPaused)...)},
		"after restored":   {with(levels["ready"], numbered(runtimeA, 500, sandbox.EventRestored)), levels["paused"], sandbox.Restored{}, append(numbered(runtimeA, 500, sandbox.EventRestored), numbered(runtimeA, 501, sandbox.EventPaused)...)},
		"failed has words": {with(levels["starting"], first), changedView(levels["failed"], func(v *sandbox.View) { v.StatusDetail = "Evicted" }), sandbox.Restored{}, append(slices.Clone(first), why(numbered(runtimeA, 3, sandbox.EventFailed), "Evicted")...)},
		"unready has words": {with(levels["ready"], first), changedView(levels["starting"], func(v *sandbox.View) { v.StatusDetail = "the readiness probe fails" }), sandbox.Restored{},
			append(slices.Clone(first), why(numbered(runtimeA, 3, sandbox.EventUnready), "the readiness probe fails")...)},
		"paused has words": {with(levels["ready"], first), changedView(levels["paused"], func(v *sandbox.View) { v.StatusDetail = "idle for 20m0s" }), sandbox.Restored{}, append(slices.Clone(first), why(numbered(runtimeA, 3, sandbox.EventPaused), "idle for 20m0s")...)},
		"others have none": {with(levels["paused"], first), changedView(levels["accepted"], func(v *sandbox.View) { v.Incarnation++; v.StatusDetail = "x" }), sandbox.Restored{}, append(slices.Clone(first), numbered(runtimeA, 3, sandbox.EventResumed)...)},
		"a pause that was over between two looks has none": {with(levels["ready"], first), changedView(levels["accepted"], func(v *sandbox.View) { v.Incarnation++; v.StatusDetail = "x" }), sandbox.Restored{},
			append(slices.Clone(first), numbered(runtimeA, 3, sandbox.EventPaused, sandbox.EventResumed)...)},
		"a new sandbox of the session keeps what is not published": {with(levels["stopped"], first), changedView(levels["accepted"], other), sandbox.Restored{},
			append(slices.Clone(first), numbered(runtimeB, 1, sandbox.EventRequested)...)},
		"a stop that nobody showed is told": {with(levels["ready"], first), changedView(levels["starting"], other), sandbox.Restored{},
			append(append(slices.Clone(first), numbered(runtimeA, 3, sandbox.EventStopped)...), numbered(runtimeB, 1, sandbox.EventRequested, sandbox.EventStarting)...)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			prev := c.prev.Clone()
			next := changedView(c.next, func(v *sandbox.View) { v.Transitions = numbered(runtimeA, 77, sandbox.EventReady) }) // is thrown away
			sandbox.Advance(c.prev, next, c.restored, now)
			if !slices.Equal(next.Transitions, c.want) {
				t.Errorf("\n got %v\nwant %v", next.Transitions, c.want)
			}
			if c.prev != nil && !slices.Equal(c.prev.Transitions, prev.Transitions) {
				t.Error("the previous view was changed")
			}
		})
	}
}

// Two writers that make different views of one previous view do not write into
// each other's list.
func TestAdvanceSharesNothing(t *testing.T) {
	t.Parallel()
	prev := changedView(levels["starting"], func(v *sandbox.View) { v.Transitions = make([]sandbox.Transition, 1, 8) })
	a, b := levels["ready"].Clone(), levels["paused"].Clone()
	sandbox.Advance(prev, a, sandbox.Restored{}, born)
	sandbox.Advance(prev, b, sandbox.Restored{}, born)
	if got := a.Transitions[1].Type; got != sandbox.EventReady {
		t.Errorf("became %s", got)
	}
}

func TestTransitionListIsBounded(t *testing.T) {
	t.Parallel()
	const kept, most = 8, 64
	none := func(sandbox.Transition) bool { return false }
	all := func(sandbox.Transition) bool { return true }
	var prev *sandbox.View
	total := int64(0)
	for i := range 100 {
		next := changedView(levels[[]string{"ready", "starting"}[i%2]])
		sandbox.Advance(prev, next, sandbox.Restored{}, at(time.Duration(i)*time.Second))
		last := next.Transitions[len(next.Transitions)-1]
		if last.Number <= total {
			t.Fatalf("number %d after %d", last.Number, total)
		}
		total = last.Number
		if want := min(total, most); int64(len(next.Transitions)) != want {
			t.Fatalf("%d transitions, want %d", len(next.Transitions), want)
		}
		sandbox.Trim(next, none)
		prev = next
	}
	sandbox.Trim(prev, func(tr sandbox.Transition) bool { return tr.Number <= total-20 })
	if n := len(prev.Transitions); n != 20 || prev.Transitions[0].Number != total-19 {
		t.Errorf("20 are not published, %d are kept", n)
	}
	sandbox.Trim(prev, all)
	if n := len(prev.Transitions); n != kept || prev.Transitions[kept-1].Number != total {
		t.Errorf("all are published, %d are kept", n)
	}
	sandbox.Trim(prev, all)
	if n := len(prev.Transitions); n != kept {
		t.Errorf("%d are kept", n)
	}
}

// What is not published stays before what is, even if a later one is out.
func TestTrimStopsAtTheFirstUnpublished(t *testing.T) {
	t.Parallel()
	v := levels["ready"].Clone()
	for n := range int64(20) {
		v.Transitions = append(v.Transitions, sandbox.Transition{RuntimeID: runtimeA, Number: n})
	}
	sandbox.Trim(v, func(tr sandbox.Transition) bool { return tr.Number != 3 })
	if v.Transitions[0].Number != 3 || len(v.Transitions) != 17 {
		t.Errorf("%v", v.Transitions)
	}
}

// Over any life, numbers of a runtime id only go up, by one each, and what an
// event says can follow from the one before it.
func TestEventsOfAnyLife(t *testing.T) {
	t.Parallel()
	after := map[sandbox.EventType]string{
		"":                     "requested restored",
		sandbox.EventRequested: "starting paused stopped",
		sandbox.EventStarting:  "starting ready failed paused stopped", // its pod went before it was ready, and there is another
		sandbox.EventReady:     "unready failed paused stopped",
		sandbox.EventUnready:   "starting ready failed paused stopped",
		sandbox.EventPaused:    "resumed stopped",
		sandbox.EventResumed:   "starting paused stopped",
		sandbox.EventFailed:    "starting resumed paused stopped",
		sandbox.EventRestored:  "starting ready unready failed paused resumed stopped",
		sandbox.EventStopped:   "",
	}
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		var prev *sandbox.View
		last := map[string]sandbox.Transition{}
		v := levels["accepted"].Clone()
		for i := range 150 {
			if r.IntN(3) > 0 || prev == nil {
				next := changedView(levels[levelNames[r.IntN(len(levelNames))]])
				next.RuntimeID, next.Incarnation, next.Generation = v.RuntimeID, v.Incarnation, v.Generation+1
				switch {
				case v.Status == sandbox.StatusStopped:
					next.RuntimeID, next.Incarnation = strings.Repeat(string(rune('a'+i%26)), 15)+string(rune('a'+i/26)), v.Incarnation+1
				case v.Status == sandbox.StatusPaused && next.Status != sandbox.StatusPaused && next.Status != sandbox.StatusStopped:
					next.Incarnation++
				case v.Status == sandbox.StatusError && r.IntN(2) == 0 && next.Status != sandbox.StatusPaused && next.Status != sandbox.StatusStopped:
					next.Incarnation++
				}
				v = next
			}
			if r.IntN(3) == 0 {
				continue // nobody looked
			}
			shown := v.Clone()
			sandbox.Advance(prev, shown, sandbox.Restored{Yes: seed%5 == 0 && prev == nil, Number: 1000}, at(time.Duration(i)*time.Second))
			known := 0
			if prev != nil {
				known = len(prev.Transitions)
				if full := known + 6 - 64; full > 0 {
					known = 0 // some were cut: find the new ones by number
				}
			}
			for _, tr := range shown.Transitions[known:] {
				was, there := last[tr.RuntimeID]
				if there && tr.Number <= was.Number {
					continue
				}
				if there && tr.Number != was.Number+1 {
					t.Fatalf("seed %d: number %d after %d", seed, tr.Number, was.Number)
				}
				if !slices.Contains(strings.Fields(after[was.Type]), string(tr.Type)) {
					t.Fatalf("seed %d, step %d: %q after %q: %v", seed, i, tr.Type, was.Type, shown.Transitions)
				}
				last[tr.RuntimeID] = tr
			}
			sandbox.Trim(shown, func(sandbox.Transition) bool { return r.IntN(2) == 0 })
			prev = shown
		}
	}
}

func ExampleSteps() {
	paused := &sandbox.View{RuntimeID: "abcdefghijklmnop", Incarnation: 1, Status: sandbox.StatusPaused, PodStatus: sandbox.PodNotFound}
	ready := &sandbox.View{RuntimeID: "abcdefghijklmnop", Incarnation: 2, Status: sandbox.StatusRunning, PodStatus: sandbox.PodReady}
	fmt.Println(sandbox.Steps(paused, ready, false))
	// Output: [resumed starting ready]
}
