package check_test

import (
	"fmt"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/check"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/history"
)

func pod(name, node string) history.Pod {
	return history.Pod{
		Record: sandbox.RecordName("default", "s"), Runs: "image word",
		Name: name, UID: "uid-" + name, Node: node, Phase: "Running",
	}
}

// asked is a start of the session s.
func asked(runs string) history.Op {
	o := did(history.Start, x, a, 0, 1)
	o.Runs = runs
	return o
}

func TestPods(t *testing.T) {
	t.Parallel()
	gone, ended := pod("p-1", "n1"), pod("p-1", "n1")
	gone.Gone, ended.Phase = true, "Failed"
	again := pod("p-2", "n1")
	again.Again = true
	other, word, image := pod("q-1", "n1"), pod("p-2", "n1"), pod("p-1", "n1")
	other.Record = sandbox.RecordName("default", "t")
	word.Runs, image.Runs = "image other", "default word"
	ofOther, others, early := asked("image word of another"), pod("p-1", "n1"), pod("p-1", "n1")
	ofOther.Session, ofOther.Seen = "t", nil
	other.Runs, others.Runs, early.At = ofOther.Runs, ofOther.Runs, ms(-1)
	for name, c := range map[string]struct {
		pods []history.Pod
		want string
	}{
		"one after the other":        {pods: []history.Pod{pod("p-1", "n1"), gone, pod("p-2", "n1")}},
		"the second waits":           {pods: []history.Pod{pod("p-1", "n1"), pod("p-2", ""), gone, pod("p-2", "n2")}},
		"the first has ended":        {pods: []history.Pod{pod("p-1", "n1"), ended, pod("p-2", "n1")}},
		"seen anew":                  {pods: []history.Pod{pod("p-1", "n1"), again}},
		"of another session":         {pods: []history.Pod{pod("p-1", "n1"), other}},
		"what another start asked":   {pods: []history.Pod{pod("p-1", "n1"), gone, word}},
		"what another's start asked": {pods: []history.Pod{others}, want: check.AsStarted},
		"before it was asked for":    {pods: []history.Pod{early}, want: check.AsStarted},
		"what no start asked":        {pods: []history.Pod{image}, want: check.AsStarted},
		"two, and both have nodes":   {pods: []history.Pod{pod("p-1", "n1"), pod("p-2", "n2"), pod("p-2", "n2")}, want: check.OnePod},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ops := []history.Op{asked("image word"), asked("image other"), ofOther}
			only(t, check.History(&history.History{Ops: ops, Pods: c.pods}).Violations, c.want)
		})
	}
}

func event(number int64, typ string, epoch int64) history.Event {
	return history.Event{Epoch: epoch, RuntimeID: x, Number: number, Type: typ, ID: fmt.Sprintf("%s/%d", x, number)}
}

func later(e history.Event) history.Event { e.At = ms(100); return e }

func TestEvents(t *testing.T) {
	t.Parallel()
	first, second, third := event(1, "requested", 1), event(2, "starting", 1), event(3, "ready", 1)
	gap := event(5, "paused", 1)
	gap.Gap = true
	badID := event(2, "starting", 1)
	badID.ID = x + "/3"
	stop := did(history.Stop, x, a, 100, 200)
	for name, c := range map[string]struct {
		events []history.Event
		ops    []history.Op
		faults []history.Fault
		want   string
	}{
		"in order":                     {events: []history.Event{first, second, third}},
		"a gap that is told":           {events: []history.Event{first, second, third, gap}},
		"a store that was lost":        {events: []history.Event{first, second, event(1790000000, "restored", 2), event(1790000001, "paused", 2)}},
		"stopped, and lost, and back":  {events: []history.Event{first, event(2, "stopped", 1), event(1790000000, "restored", 2)}},
		"twice":                        {events: []history.Event{first, second, second}, want: check.Once},
		"twice over a loss":            {events: []history.Event{first, second, event(2, "starting", 2)}, want: check.Once},
		"out of order":                 {events: []history.Event{first, second, third, event(2, "starting", 1)}, want: check.Once},
		"one is missing":               {events: []history.Event{first, third}, want: check.Once},
		"restored by the first store":  {events: []history.Event{event(1790000000, "restored", 2)}, want: check.Once},
		"restored by the second store": {events: []history.Event{later(event(1790000000, "restored", 2))}, faults: []history.Fault{{Kind: check.Emptied, Begin: ms(1), Calm: ms(2)}}},
		"the first is missing":         {events: []history.Event{second}, want: check.Once},
		"after its end":                {events: []history.Event{first, event(2, "stopped", 1), third}, want: check.Once},
		"an id that is not its number": {events: []history.Event{first, badID}, want: check.Once},
		"stopped, and told":            {events: []history.Event{first, event(2, "stopped", 1)}, ops: []history.Op{stop}},
		"stopped, and never told":      {events: []history.Event{first}, ops: []history.Op{stop}, want: check.Once},
		"stopped, and nothing is told": {ops: []history.Op{stop}, want: check.Once},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &history.History{Events: c.events, Ops: c.ops, Faults: c.faults}
			if len(c.ops) > 0 {
				h.Ops = append([]history.Op{did(history.Start, x, a, 0, 50)}, c.ops...)
				h.Ends = []history.End{{At: ms(900), Gateway: a, Tenant: "default", Seen: history.Seen{Session: "s", RuntimeID: x, Status: "stopped"}}}
			}
			only(t, check.History(h).Violations, c.want)
		})
	}
}

func TestViews(t *testing.T) {
	t.Parallel()
	view := func(generation, incarnation, epoch int64) history.View {
		return history.View{Key: "default.sandbox-r", Epoch: epoch, Generation: generation, Incarnation: incarnation}
	}
	for name, c := range map[string]struct {
		views []history.View
		want  string
	}{
		"up":                           {views: []history.View{view(1, 1, 1), view(1, 1, 1), view(2, 1, 1), view(2, 2, 1), view(3, 2, 1)}},
		"the generation goes back":     {views: []history.View{view(2, 1, 1), view(1, 1, 1)}, want: check.NeverBack},
		"the incarnation goes back":    {views: []history.View{view(2, 2, 1), view(2, 1, 1)}, want: check.NeverBack},
		"a new bucket may begin lower": {views: []history.View{view(2, 2, 1), view(2, 1, 2)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			only(t, check.History(&history.History{Views: c.views}).Violations, c.want)
		})
	}
}

func TestTheEnd(t *testing.T) {
	t.Parallel()
	end := func(status, podStatus, detail string) history.End {
		return history.End{At: ms(9000), Gateway: a, Tenant: "default", Seen: history.Seen{Session: "s", RuntimeID: x, Status: status, PodStatus: podStatus, Detail: detail}}
	}
	for name, c := range map[string]struct {
		end  history.End
		want string
	}{
		"ready":                {end: end("running", "ready", "")},
		"failed, with a word":  {end: end("error", "failed", "OOMKilled")},
		"failed, without":      {end: end("error", "failed", ""), want: check.Ends},
		"starting for ever":    {end: end("starting", "pending", "Unschedulable"), want: check.Ends},
		"running, never ready": {end: end("running", "running", ""), want: check.Ends},
		"no answer":            {end: history.End{Gateway: a, Problem: "503"}, want: check.Ends},
		"paused by nobody":     {end: end("paused", "not found", ""), want: check.Visible},
		"gone":                 {end: history.End{At: ms(9000), Gateway: a, Tenant: "default", Seen: history.Seen{Session: "s", Absent: true}}, want: check.Exists},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &history.History{Ops: []history.Op{did(history.Start, x, b, 0, 100)}, Ends: []history.End{c.end}}
			only(t, check.History(h).Violations, c.want)
		})
	}
}

func TestWholeRun(t *testing.T) {
	t.Parallel()
	refused, internal, nonsense, foreign := did(history.Start, x, a, 0, 10), tried(history.Pause, x, a, 0, 10), did(history.Start, x, a, 0, 10), did(history.Start, x, a, 0, 10)
	refused.Outcome, refused.HTTP = history.Refused, 400
	internal.HTTP = 500
	nonsense.Outcome, nonsense.Problem = history.Malformed, "not a JSON object"
	foreign.Tenant = "other"
	other := did(history.Start, x, a, 0, 10)
	other.Seen[0].Status = "paused"
	for name, c := range map[string]struct {
		history history.History
		want    string
	}{
		"something is left":    {history.History{Left: []history.Left{{Kind: "Pod", Name: "p"}}}, check.Nothing},
		"a fault never heals":  {history.History{Faults: []history.Fault{{Kind: "nats-killed", Problem: "gateway-1 is degraded"}}}, check.Recovers},
		"refused":              {history.History{Ops: []history.Op{refused}}, check.Answers},
		"an internal error":    {history.History{Ops: []history.Op{internal}}, check.Answers},
		"another state":        {history.History{Ops: []history.Op{other}}, check.Answers},
		"nonsense":             {history.History{Ops: []history.Op{nonsense}}, check.Answers},
		"an id of two tenants": {history.History{Ops: []history.Op{did(history.Start, x, a, 0, 10), foreign}}, check.OneID},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			only(t, check.History(&c.history).Violations, c.want)
		})
	}
}
