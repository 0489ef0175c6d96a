package check

import (
	"fmt"
	"slices"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/history"
)

// pods: of one session there is never more than one pod that has a node and has
// not ended. One that waits for a node beside an older one runs nothing: the
// volume lets only one in.
func pods(h *history.History) (out []Violation) {
	live := map[string]map[string]*history.Pod{} // record → UID
	for i := range h.Pods {
		p := &h.Pods[i]
		if p.Again {
			clear(live)
		}
		if p.Record == "" { // an empty list
			continue
		}
		of := live[p.Record]
		if of == nil {
			of = map[string]*history.Pod{}
			live[p.Record] = of
		}
		if p.Gone || p.Node == "" || p.Phase == "Failed" || p.Phase == "Succeeded" {
			delete(of, p.UID)
			continue
		}
		_, known := of[p.UID]
		of[p.UID] = p
		for uid, other := range of {
			if uid != p.UID && !known {
				out = append(out, violation(OnePod, fmt.Sprintf("%s and %s both have a node", other.Name, p.Name), other, p))
			}
		}
	}
	return out
}

// specs: every pod runs what a start of its session asked for. Of several starts it
// may be any: one of a sandbox that failed brings a new spec.
func specs(h *history.History) (out []Violation) {
	asked := map[string]time.Duration{} // when, by the record and what a start asked for
	for i := range h.Ops {
		if o := &h.Ops[i]; o.Verb == history.Start {
			asked[sandbox.RecordName(o.Tenant, o.Session)+" "+o.Runs] = o.Invoked
		}
	}
	judged := map[string]bool{} // by UID
	for i := range h.Pods {
		p := &h.Pods[i]
		if p.UID == "" || judged[p.UID] {
			continue
		}
		judged[p.UID] = true
		if at, ok := asked[p.Record+" "+p.Runs]; !ok || at > p.At {
			out = append(out, violation(AsStarted, fmt.Sprintf("%s runs %q, and no start of its session had asked for that", p.Name, p.Runs), p))
		}
	}
	return out
}

// events: of each sandbox every number once and in order, no gap that is not
// told, and nothing after its end.
func events(h *history.History) (out []Violation) {
	last, begun := map[string]*history.Event{}, firstStore(h)
	seen := map[string]*history.Event{}
	for i := range h.Events {
		e := &h.Events[i]
		before := last[e.RuntimeID]
		wrong := ""
		switch {
		case e.ID != fmt.Sprintf("%s/%d", e.RuntimeID, e.Number):
			wrong = "its id is not of its number"
		case seen[e.ID] != nil:
			wrong, before = "it came twice", seen[e.ID]
		case before == nil && e.Epoch == begun && e.Number != 1 && !e.Gap:
			wrong = "it is the first"
		case before == nil:
		case before.Type == "stopped" && (e.Type != "restored" || e.Epoch == before.Epoch):
			wrong = "the sandbox had ended"
		case e.Number < before.Number:
			wrong = "a later one came before"
		case e.Number != before.Number+1 && !e.Gap && e.Type != "restored" && e.Epoch == before.Epoch:
			wrong = "some before it are missing"
		}
		if wrong != "" {
			out = append(out, violation(Once, fmt.Sprintf("event %s, %s: %s", e.ID, e.Type, wrong), withoutNil(before, e)...))
		}
		last[e.RuntimeID], seen[e.ID] = e, e
	}
	return append(out, untold(h, last)...)
}

// firstStore is the epoch of the store that the run began with; 0: it was lost
// before it told anything.
func firstStore(h *history.History) int64 {
	if len(h.Events) == 0 {
		return 0
	}
	for _, f := range h.Faults {
		if f.Kind == Emptied && f.Begin < h.Events[0].At {
			return 0
		}
	}
	return h.Events[0].Epoch
}

// untold: of what was stopped after the last loss of NATS' store, the last event
// says so.
func untold(h *history.History, last map[string]*history.Event) (out []Violation) {
	if len(h.Ends) == 0 { // nobody waited for them
		return nil
	}
	var whole time.Duration
	for _, f := range h.Faults {
		if f.Kind == Emptied {
			whole = max(whole, f.Calm)
		}
	}
	asked := map[string]bool{}
	for i := range h.Ops {
		o := &h.Ops[i]
		if o.Verb != history.Stop {
			continue
		}
		again := asked[o.RuntimeID] // of what was stopped before the loss: that tells nothing new
		asked[o.RuntimeID] = true
		if again || o.Outcome != history.OK || o.Invoked < whole {
			continue
		}
		switch e := last[o.RuntimeID]; {
		case e == nil:
			out = append(out, violation(Once, o.RuntimeID+" was stopped, and there is no event of it", o))
		case e.Type != "stopped":
			out = append(out, violation(Once, fmt.Sprintf("%s was stopped, and its last event is %s", o.RuntimeID, e.Type), o, e))
		}
	}
	return out
}

// Emptied is the kind of fault that takes all that NATS has stored.
const Emptied = "nats-emptied"

func withoutNil(before, e *history.Event) []any {
	if before == nil {
		return []any{e}
	}
	return []any{before, e}
}

// views: in one creation of the bucket, (generation, incarnation) of a key only
// goes up.
func views(h *history.History) (out []Violation) {
	type place struct {
		key   string
		epoch int64
	}
	last := map[place]*history.View{}
	for i := range h.Views {
		v := &h.Views[i]
		at := place{v.Key, v.Epoch}
		b := last[at]
		if b != nil && slices.Compare([]int64{v.Generation, v.Incarnation}, []int64{b.Generation, b.Incarnation}) < 0 {
			out = append(out, violation(NeverBack, fmt.Sprintf("the view %s went from (%d, %d) to (%d, %d)", v.Key, b.Generation, b.Incarnation, v.Generation, v.Incarnation), b, v))
		}
		last[at] = v
	}
	return out
}
