package plan_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/sandbar-io/sandbar/tools/robustness/internal/history"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/plan"
)

var targets = plan.Targets{
	Services: []string{"gateway-0", "provisioner-0", "provisioner-1", "router-0", "watcher-0"},
	Proxied:  []string{"gateway-0", "provisioner-1"},
	Points:   map[string][]string{"provisioner": {"provisioner/after-pod", "provisioner/before-ack"}},
	Answers:  map[string][]string{"provisioner": {"provisioner/after-pod"}},
}

func steps(c *plan.Client, n int) (out []plan.Step) {
	for range n {
		out = append(out, c.Next())
	}
	return out
}

func roundsOf(seed uint64, n int) (out []plan.Round) {
	r := plan.NewRounds(seed, targets)
	for range n {
		out = append(out, r.Next())
	}
	return out
}

func TestASeedRepeatsThePlan(t *testing.T) {
	t.Parallel()
	if !reflect.DeepEqual(roundsOf(7, 100), roundsOf(7, 100)) {
		t.Error("one seed, two orders of faults")
	}
	if reflect.DeepEqual(roundsOf(7, 100), roundsOf(8, 100)) {
		t.Error("two seeds, one order of faults")
	}
	first := steps(plan.Changer(7, 0, 4), 100)
	if !reflect.DeepEqual(first, steps(plan.Changer(7, 0, 4), 100)) {
		t.Error("one seed, two orders of requests")
	}
	if reflect.DeepEqual(first, steps(plan.Changer(7, 1, 4), 100)) {
		t.Error("two clients do the same")
	}
}

// TestSparedAreNotEnded: all else happens to them.
func TestSparedAreNotEnded(t *testing.T) {
	t.Parallel()
	spared := targets
	spared.Spared = []string{"provisioner-0", "gateway-0"}
	rounds := plan.NewRounds(3, spared)
	froze := false
	for range 300 {
		for _, f := range rounds.Next().Faults {
			if !slices.Contains(spared.Spared, f.Target) {
				continue
			}
			switch f.Kind {
			case plan.Kill, plan.Restart, plan.Crash, plan.Hang, plan.LostAnswer:
				t.Fatalf("%+v ends one that is spared", f)
			case plan.Freeze:
				froze = true
			}
		}
	}
	if !froze {
		t.Error("the spared are never frozen")
	}
}

func TestClientsDoTheirOwn(t *testing.T) {
	t.Parallel()
	seen := map[history.Verb]int{}
	bursts := 0
	for _, s := range steps(plan.Changer(1, 0, 4), 500) {
		if !s.Verb.Changes() || s.Session < 0 || s.Session > 3 || s.Times > 1 && s.Verb != history.Start || s.Times > 4 {
			t.Fatalf("a changer does %+v", s)
		}
		seen[s.Verb]++
		if s.Times > 1 {
			bursts++
		}
	}
	for _, s := range steps(plan.Reader(1, 0, 4), 500) {
		if s.Verb.Changes() || s.Times != 1 {
			t.Fatalf("a reader does %+v", s)
		}
		seen[s.Verb]++
	}
	if len(seen) != 8 || bursts == 0 {
		t.Errorf("%v, %d bursts: want all eight verbs and some bursts", seen, bursts)
	}
}

func TestEveryKindComes(t *testing.T) {
	t.Parallel()
	seen := map[plan.Kind]int{}
	pairs := 0
	for i, round := range roundsOf(1, 100) {
		if len(round.Faults) > 1 {
			pairs++
		}
		for _, f := range round.Faults {
			seen[f.Kind]++
			if f.Kind != plan.PodsDeleted && f.Target == "" || f.Hold < 0 {
				t.Errorf("round %d: %+v", i, f)
			}
			points := map[plan.Kind]map[string][]string{plan.Crash: targets.Points, plan.Hang: targets.Points, plan.LostAnswer: targets.Answers}
			if of := points[f.Kind]; of != nil && !slices.Contains(of[plan.KindOf(f.Target)], f.Point) {
				t.Errorf("round %d: %+v has another's point", i, f)
			}
		}
		if i == len(plan.Kinds)-1 && len(seen) < len(plan.Kinds)-2 { // one of a pair may be left out
			t.Errorf("after %d rounds only %v", i+1, seen)
		}
	}
	if len(seen) != len(plan.Kinds) || pairs == 0 {
		t.Errorf("%v, %d pairs", seen, pairs)
	}
}
