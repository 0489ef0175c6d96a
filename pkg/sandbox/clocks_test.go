package sandbox_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

var serverClocks = sandbox.Clocks{
	Idle: 20 * time.Minute, MaxAge: 12 * time.Hour, Retention: 240 * time.Hour, Pending: time.Hour, Unclaimed: 30 * time.Minute,
}

func TestTimelineElapsed(t *testing.T) {
	t.Parallel()
	line := sandbox.Timeline{{From: at(time.Hour), To: at(2 * time.Hour)}, {From: at(5 * time.Hour), To: at(6 * time.Hour)}}
	for name, c := range map[string]struct {
		from, to, want time.Duration
	}{
		"before all":       {0, 30 * time.Minute, 30 * time.Minute},
		"over one":         {0, 3 * time.Hour, 2 * time.Hour},
		"over both":        {0, 10 * time.Hour, 8 * time.Hour},
		"begins within":    {90 * time.Minute, 3 * time.Hour, time.Hour},
		"ends within":      {0, 90 * time.Minute, time.Hour},
		"all of it within": {70 * time.Minute, 80 * time.Minute, 0},
		"between":          {3 * time.Hour, 4 * time.Hour, time.Hour},
		"back in time":     {3 * time.Hour, 2 * time.Hour, -time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := line.Elapsed(at(c.from), at(c.to)); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// clockCase is one sandbox at one moment.
type clockCase struct {
	r     *sandbox.Record
	p     *sandbox.Pod
	v     *sandbox.View
	s     sandbox.Signs
	line  sandbox.Timeline
	after time.Duration // since the record's change

	verb   sandbox.Verb // "": nothing is sent
	reason string
	ask    bool
	again  time.Duration // since the record's change; 0: never
}

func readyAt(d time.Duration) *sandbox.Pod {
	p := newPod(scheduled, running(born), ready)
	p.ReadyAt = at(d)
	return p
}

func TestDueBy(t *testing.T) {
	t.Parallel()
	const minute, hour = time.Minute, time.Hour
	runs := seen(sandbox.StatusRunning, sandbox.PodReady, func(v *sandbox.View) { v.Served = true })
	starts := seen(sandbox.StatusStarting, sandbox.PodPending, func(v *sandbox.View) { v.StatusDetail = "Unschedulable: 0/3 nodes" })
	fell := seen(sandbox.StatusStarting, sandbox.PodRunning, func(v *sandbox.View) { v.Served = true })
	failed := seen(sandbox.StatusError, sandbox.PodFailed)
	used := sandbox.Signs{Known: true, Claimed: true, Floor: born.Add(-hour)}
	told := func(s sandbox.Signs, asked, idle time.Duration) sandbox.Signs {
		s.AskedAt, s.Idle = at(asked), idle
		return s
	}
	with := func(s sandbox.Signs, change func(*sandbox.Signs)) sandbox.Signs { change(&s); return s }
	asking := func(l *sandbox.Lifecycle) *sandbox.Record {
		return newRecord(func(r *sandbox.Record) { r.Spec.Lifecycle = l })
	}
	closed := seen(sandbox.StatusStarting, sandbox.PodRunning, fails("runtime_ingress:http_status:503"))
	moved := func(after time.Duration) *sandbox.Record { // its pod was ending, another took its place
		reconcile := sandbox.Command{Verb: sandbox.Reconcile, Generation: 1000, RuntimeID: runtimeA}
		return sandbox.Decide(newRecord(), reconcile, sandbox.Facts{Now: at(after), Ending: true}).Next
	}
	resumed := newRecord(func(r *sandbox.Record) { r.CreatedAt = born.Add(-24 * hour) })
	for name, c := range map[string]clockCase{
		"a fresh start has a whole idle period": {v: runs, p: readyAt(0), s: used, after: 19 * minute, again: 20 * minute},
		"counted from when it was ready":        {v: runs, p: readyAt(10 * minute), s: used, after: 25 * minute, again: 30 * minute},
		"idle by all else: the agent is asked":  {v: runs, p: readyAt(0), s: used, after: 20 * minute, ask: true, again: 20*minute + 15*time.Second},
		"idle by the agent too":                 {v: runs, p: readyAt(0), s: told(used, 21*minute, 21*minute), after: 21*minute + time.Second, verb: sandbox.Pause, reason: "it was idle for 20m0s"},
		"the agent works":                       {v: runs, p: readyAt(0), s: told(used, 21*minute, minute), after: 21 * minute, again: 40 * minute},
		"the agent's word is old":               {v: runs, p: readyAt(0), s: told(used, 20*minute, 20*minute), after: 25 * minute, ask: true, again: 25*minute + 15*time.Second},
		"traffic counts":                        {v: runs, p: readyAt(0), s: told(with(used, func(s *sandbox.Signs) { s.Traffic = at(15 * minute) }), 21*minute, hour), after: 21 * minute, again: 35 * minute},
		"what is not known counts":              {v: runs, p: readyAt(0), s: told(with(used, func(s *sandbox.Signs) { s.Floor = at(15 * minute) }), 21*minute, hour), after: 21 * minute, again: 35 * minute},
		"nothing is known: nobody is idle":      {v: runs, p: readyAt(0), s: told(sandbox.Signs{}, 50*minute, hour), after: 50 * minute, again: 12 * hour},
		"it served and does not answer: asked":  {v: fell, p: newPod(scheduled, running(born), started, unready), s: used, after: hour, ask: true, again: hour + 15*time.Second},
		"failed: nobody is asked":               {v: failed, p: newPod(scheduled, phase("Failed", "Evicted", "")), s: used, after: 20 * minute, verb: sandbox.Pause, reason: "it was idle for 20m0s"},
		"without a view":                        {p: readyAt(0), s: used, after: hour, again: 12 * hour},

		"maximum age, although it works":    {v: runs, p: readyAt(0), s: told(used, 12*hour, 0), after: 12 * hour, verb: sandbox.Pause, reason: "it ran for 12h0m0s, the longest allowed"},
		"maximum age of what never started": {r: asking(&sandbox.Lifecycle{MaxAge: seconds(60), Pending: seconds(0)}), v: starts, p: newPod(), s: used, after: minute, verb: sandbox.Pause, reason: "it ran for 1m0s"},

		"pending":                                 {v: starts, p: newPod(), s: used, after: 59 * minute, again: hour},
		"pending too long, for the first time":    {v: starts, p: newPod(), s: used, after: hour, verb: sandbox.Stop, reason: "it was not ready within 1h0m0s: Unschedulable: 0/3 nodes"},
		"pending too long, after a resume":        {r: resumed, v: starts, p: newPod(), s: used, after: hour, verb: sandbox.Pause, reason: "it was not ready within 1h0m0s"},
		"no pod for too long":                     {v: seen(sandbox.StatusStarting, sandbox.PodNotFound), s: used, after: hour, verb: sandbox.Pause, reason: "it was not ready within 1h0m0s: it has no pod"},
		"its image still comes":                   {v: seen(sandbox.StatusStarting, sandbox.PodPending), p: newPod(scheduled, waiting("ContainerCreating", "")), s: used, after: hour, verb: sandbox.Stop, reason: "it was not ready within 1h0m0s: ContainerCreating"},
		"no node looked at it":                    {v: seen(sandbox.StatusStarting, sandbox.PodPending), p: newPod(), s: used, after: hour, verb: sandbox.Stop, reason: "it was not ready within 1h0m0s: its pod has no node"},
		"its probe does not pass":                 {v: seen(sandbox.StatusStarting, sandbox.PodRunning), p: newPod(scheduled, running(born), func(p *sandbox.Pod) { p.Container.Started = false }), s: used, after: hour, verb: sandbox.Stop, reason: "it was not ready within 1h0m0s: its container runs, and is not ready"},
		"no kubelet told of it":                   {v: seen(sandbox.StatusStarting, sandbox.PodPending), p: newPod(scheduled), s: used, after: hour, verb: sandbox.Stop, reason: "it was not ready within 1h0m0s: its pod is Pending"},
		"a pod that came much later":              {v: starts, p: newPod(func(p *sandbox.Pod) { p.CreatedAt = at(50 * minute) }), s: used, after: hour, verb: sandbox.Pause, reason: "it was not ready within 1h0m0s"},
		"its pod was lost after it had served":    {v: seen(sandbox.StatusStarting, sandbox.PodNotFound, func(v *sandbox.View) { v.Served = true }), s: told(used, 3*hour, 0), after: 3 * hour, again: 3*hour + 20*minute},
		"served once, and the view was lost":      {v: seen(sandbox.StatusStarting, sandbox.PodRunning), p: newPod(scheduled, running(born), started, unready), s: used, after: 2 * hour, ask: true, again: 2*hour + 15*time.Second},
		"restarted, and the view was lost":        {v: seen(sandbox.StatusStarting, sandbox.PodRunning), p: newPod(scheduled, running(born), restarted(1, nil)), s: used, after: 2 * hour, ask: true, again: 2*hour + 15*time.Second},
		"a ready one is not pending":              {v: runs, p: readyAt(0), s: told(used, 90*minute, 0), after: 90 * minute, again: 110 * minute},
		"idle does not count before it was ready": {v: starts, p: newPod(), s: used, after: 30 * minute, again: hour},

		"unclaimed":                     {v: runs, p: readyAt(0), s: with(used, func(s *sandbox.Signs) { s.Claimed = false }), after: 10 * minute, again: 20 * minute},
		"unclaimed for too long":        {v: runs, p: readyAt(0), s: with(used, func(s *sandbox.Signs) { s.Claimed = false }), after: 30 * minute, verb: sandbox.Stop, reason: "nobody asked for it within 30m0s"},
		"unclaimed after a resume":      {r: resumed, v: runs, p: readyAt(0), s: with(used, func(s *sandbox.Signs) { s.Claimed = false }), after: 30 * minute, verb: sandbox.Pause, reason: "nobody asked for it within 30m0s"},
		"whoever sends traffic asked":   {v: runs, p: readyAt(0), s: with(used, func(s *sandbox.Signs) { s.Claimed, s.Traffic = false, at(25*minute) }), after: 30 * minute, again: 45 * minute},
		"who asked is not known":        {v: starts, p: newPod(), s: sandbox.Signs{}, after: 40 * minute, again: hour},
		"claims are known for a moment": {v: starts, p: newPod(), s: sandbox.Signs{Known: true, Floor: at(25 * minute)}, after: 40 * minute, again: 55 * minute},

		"replaced: it runs since its start":           {r: moved(11 * hour), v: runs, p: readyAt(11 * hour), s: told(used, 11*hour+50*minute, 0), after: 11*hour + 50*minute, again: 12 * hour},
		"replaced, maximum age":                       {r: moved(11 * hour), v: runs, p: readyAt(11 * hour), s: told(used, 12*hour, 0), after: 12 * hour, verb: sandbox.Pause, reason: "it ran for 12h0m0s, the longest allowed"},
		"replaced, and was asked for before":          {r: moved(11 * hour), v: runs, p: readyAt(11 * hour), s: with(told(used, 11*hour+40*minute, 0), func(s *sandbox.Signs) { s.Claimed, s.Traffic = false, at(hour) }), after: 11*hour + 40*minute, again: 12 * hour},
		"replaced again and again, and never ready":   {r: moved(59 * minute), v: starts, p: newPod(func(p *sandbox.Pod) { p.CreatedAt = at(59 * minute) }), s: used, after: hour, verb: sandbox.Pause, reason: "it was not ready within 1h0m0s"},
		"replaced at once, its volume may hold files": {r: moved(time.Second), v: starts, p: newPod(func(p *sandbox.Pod) { p.CreatedAt = at(time.Second) }), s: used, after: hour, verb: sandbox.Pause, reason: "it was not ready within 1h0m0s"},
		"replaced after it served: waits for a node":  {r: moved(hour), v: seen(sandbox.StatusStarting, sandbox.PodPending, func(v *sandbox.View) { v.Served = true }), p: newPod(), s: told(used, 3*hour, 0), after: 3 * hour, again: 3*hour + 20*minute},

		"its public URL does not answer":          {v: closed, p: readyAt(0), s: used, after: 59 * minute, again: hour},
		"its public URL did not answer in time":   {v: closed, p: readyAt(0), s: used, after: hour, verb: sandbox.Stop, reason: "it was not ready within 1h0m0s: runtime_ingress:http_status:503"},
		"its public URL answered in its last pod": {r: moved(hour), v: seen(sandbox.StatusStarting, sandbox.PodRunning, fails("runtime_ingress:timeout"), func(v *sandbox.View) { v.Served = true }), p: readyAt(hour), s: used, after: hour + 10*minute, again: hour + 20*minute},

		"paused": {r: newRecord(desired(sandbox.Paused)), after: 239 * hour, again: 240 * hour},
		"paused for too long, whatever else is known": {r: newRecord(desired(sandbox.Paused)), after: 240 * hour, verb: sandbox.Stop, reason: "it was paused for 240h0m0s"},
		"stopped": {r: newRecord(desired(sandbox.Stopped)), after: 1000 * hour},

		"the client asked for less": {r: asking(&sandbox.Lifecycle{Idle: seconds(5)}), v: runs, p: readyAt(0), s: told(used, 6*time.Second, 6*time.Second), after: 6 * time.Second, verb: sandbox.Pause, reason: "it was idle for 5s"},
		"the client asked for never": {
			r: asking(&sandbox.Lifecycle{Idle: seconds(0), MaxAge: seconds(0), Pending: seconds(0), Unclaimed: seconds(0)}),
			v: starts, p: newPod(), s: with(used, func(s *sandbox.Signs) { s.Claimed = false }), after: 10_000 * hour,
		},
		"a gap does not count": {
			v: runs, p: readyAt(0), s: used, line: sandbox.Timeline{{From: at(10 * minute), To: at(24 * hour)}}, after: 24*hour + 9*minute, again: 24*hour + 10*minute,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := c.r
			if r == nil {
				r = newRecord()
			}
			got := sandbox.DueBy(r, c.p, c.v, c.s, serverClocks, c.line, at(c.after))
			if got.Ask != c.ask {
				t.Errorf("ask %v, want %v", got.Ask, c.ask)
			}
			switch {
			case c.verb == "" && got.Command != nil:
				t.Errorf("sends %+v", got.Command)
			case c.verb == "":
				if c.again == 0 != got.Again.IsZero() || c.again != 0 && !got.Again.Equal(at(c.again)) {
					t.Errorf("again at %v, want %v", got.Again.Sub(born), c.again)
				}
			case got.Command == nil:
				t.Error("sends nothing")
			default:
				checkClockCommand(t, r, got.Command, c, at(c.after))
			}
		})
	}
}

func checkClockCommand(t *testing.T, r *sandbox.Record, got *sandbox.Command, c clockCase, now time.Time) {
	t.Helper()
	if got.Verb != c.verb || !strings.HasPrefix(got.Reason, c.reason) {
		t.Errorf("%s because %q, want %s because %q", got.Verb, got.Reason, c.verb, c.reason)
	}
	if !got.Bound() || got.Generation != r.Generation || got.RecordUID != r.UID || got.RuntimeID != r.RuntimeID || !got.Deadline.After(now) {
		t.Errorf("not bound to what was seen: %+v", got)
	}
	e := sandbox.Decide(r, *got, sandbox.Facts{Sequence: r.Fence + 1, Now: now})
	if e.Next == nil || e.Next.Reason != got.Reason || e.Next.Fence != r.Fence {
		t.Errorf("decided as %+v", e)
	}
	if e := sandbox.Decide(r, *got, sandbox.Facts{Sequence: r.Fence + 1, Now: got.Deadline}); !e.Drop {
		t.Error("carried out although it waited too long")
	}
	again := r.Clone()
	again.Fence++ // a start that found it running
	if e := sandbox.Decide(again, *got, sandbox.Facts{Sequence: again.Fence + 1, Now: now}); !e.Drop {
		t.Error("carried out although a client has asked for it since")
	}
}

// What comes from the scheduler may be long, and is cut where a character ends.
func TestAReasonIsShort(t *testing.T) {
	t.Parallel()
	v := seen(sandbox.StatusStarting, sandbox.PodPending, func(v *sandbox.View) { v.StatusDetail = strings.Repeat("é%d", 500) })
	got := sandbox.DueBy(newRecord(), newPod(), v, sandbox.Signs{}, serverClocks, nil, at(2*time.Hour))
	if got.Command == nil || len(got.Command.Reason) > sandbox.MaxReason || strings.ContainsRune(got.Command.Reason, '\uFFFD') || !strings.Contains(got.Command.Reason, "é%d") {
		t.Errorf("%+v", got.Command)
	}
}

func TestServedLastsForAnIncarnation(t *testing.T) {
	t.Parallel()
	r := newRecord()
	v, _ := sandbox.Observe(r, newPod(scheduled, running(born)), nil, 0, sandbox.DefaultPolicy, at(0))
	if v.Served {
		t.Error("served before it was ready")
	}
	v, _ = sandbox.Observe(r, newPod(scheduled, running(born), ready), &v, 0, sandbox.DefaultPolicy, at(1))
	if !v.Served {
		t.Error("ready, and has not served")
	}
	for i := range 3 { // a blip, then long after the grace
		v, _ = sandbox.Observe(r, newPod(scheduled, running(born), unready), &v, 0, sandbox.DefaultPolicy, at(time.Duration(i)*time.Hour))
	}
	if !v.Served || v.Status != sandbox.StatusStarting {
		t.Errorf("%s, served %v", v.Status, v.Served)
	}
	for _, gone := range []*sandbox.Pod{nil, newPod(scheduled, running(born), ready, terminating)} { // and another is made
		if v, _ = sandbox.Observe(r, gone, &v, 0, sandbox.DefaultPolicy, at(3*time.Hour)); !v.Served || v.PodStatus != sandbox.PodNotFound {
			t.Errorf("its pod is gone: %s, served %v", v.PodStatus, v.Served)
		}
	}
	next := newRecord(func(r *sandbox.Record) { r.Incarnation, r.Generation = 2, 1002 })
	if v, _ = sandbox.Observe(next, nil, &v, 0, sandbox.DefaultPolicy, at(4*time.Hour)); v.Served {
		t.Error("another incarnation has served")
	}
}
