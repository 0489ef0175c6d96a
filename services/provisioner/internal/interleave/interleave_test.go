//go:build apiserver

package interleave_test

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

const (
	s = sandbox.Start
	p = sandbox.Pause
	r = sandbox.Resume
	x = sandbox.Stop
)

// rules are the rules of the protocol that docs/architecture.md lists: for each a scenario in which its
// absence shows, and what then breaks.
var rules = []struct {
	name   string
	omit   sandbox.Omit
	breaks []string
	scenario
}{
	{"an older command changes nothing", sandbox.OmitFence, []string{"order"},
		scenario{verbs: []sandbox.Verb{s, p}, killed: 1,
			guide: []string{`dies before it acks \(start`, `answers pause`, `gets start#0 \(delivery 2`},
			holds: []hold{{`gets start#0 \(delivery 2`, 0}}}},
	{"resume makes a new incarnation", sandbox.OmitResumeIncarnation, []string{"wanted"},
		scenario{verbs: []sandbox.Verb{s, p, r}, watchers: 1,
			guide: []string{`asks gateway 0 to start`, `answers start`, `asks gateway 0 to pause`, `p0 gets pause`, `p0 swaps`,
				`asks gateway 1 to resume`, `p1 acks \(resume`},
			holds: []hold{{`client asks`, 0}, {`p1 gets pause`, 3}, {`^p0 `, 5}}}},
	{"the deadline is looked at again right before the write", sandbox.OmitLateCheck, []string{"order", "stale"},
		scenario{verbs: []sandbox.Verb{s, s, x},
			guide: []string{`asks gateway 0 to start`, `p0 gets start#0`, `p0 reads the record`, `asks gateway 1 to start`,
				`p1 acks \(start`, `asks gateway 1 to stop`, `deletes the record`, `p0 creates the record`},
			holds: []hold{{`client asks`, 0}, {`^p0 `, 3}, {`p1 gets start#0`, 0}}}},
	{"converge deletes nothing newer than its copy", sandbox.OmitDeleteBound, []string{"wanted"},
		// The session's second sandbox is the one that is stopped: what the first has is named.
		scenario{verbs: []sandbox.Verb{s, x, s, x, s},
			guide: []string{`asks gateway 0 to start`, `acks \(start`, `asks gateway 0 to stop`, `acks \(stop`,
				`asks gateway 0 to start`, `acks \(start`, `asks gateway 0 to stop`, `p0 gets stop#3`, `p0 swaps the record`,
				`asks gateway 1 to start`, `p1 acks \(start`},
			holds: []hold{{`client asks`, 0}, {`p1 gets stop`, 7}, {`^p0 `, 9}}}},
	{"no answer in time means unknown", sandbox.OmitUnknownOutcome, []string{"order"},
		scenario{verbs: []sandbox.Verb{s, p}, late: 2,
			guide: []string{`answers start`, `asks gateway . to pause`, `past the deadline of pause`, `deadline of pause#1 passes at`},
			holds: []hold{{`gets pause`, 0}}}},
	{"what is told to be undone was begun by nobody", sandbox.OmitAlone, []string{"order"},
		scenario{verbs: []sandbox.Verb{s, p}, redelivered: 1, busy: 1,
			guide: []string{`asks gateway 0 to start`, `answers start`, `asks gateway . to pause`, `p0 gets pause#1 \(delivery 1`,
				`p1 gets pause#1 again`, `p1 swaps the record`, `no time as p0 reads the record`, `p0 says that nothing`, `answers pause`},
			holds: []hold{{`client asks`, 0}, {`^p0 `, 4}, {`no time`, 0}, {`again`, 0}, {`p1 gets pause`, 3}, {`^p1 `, 6}}}},
	{"pause, resume and stop name the sandbox they mean", sandbox.OmitRuntimeID, []string{"named"},
		scenario{verbs: []sandbox.Verb{s, x, s, x}, slow: 50}},
	{"purge is bound to its stop", sandbox.OmitPurgeBound, []string{"order"},
		scenario{verbs: []sandbox.Verb{s, x, s, x}, killed: 1,
			guide: []string{`asks gateway 0 to start`, `answers start`, `asks gateway 0 to stop`, `answers stop`, `publishes purge`,
				`asks gateway 0 to start`, `dies before it acks \(start`, `answers start`, `asks gateway 0 to stop`, `answers stop`,
				`gets purge#2`, `deletes the record`, `gets start#3`},
			holds: []hold{{`client asks`, 0}, {`gets purge#2`, 0}, {`gets start#3 \(delivery 2`, 0}, {`dies before`, 0}, {`publishes purge`, 5}}}},
	{"a new record's generation is above any earlier one", sandbox.OmitGenerationSeed, []string{"shown", "back", "stale"},
		scenario{verbs: []sandbox.Verb{s, x, s},
			guide: []string{`asks gateway 0 to start`, `answers start`, `asks gateway 0 to stop`, `deletes the record`, `asks gateway 0 to start`},
			holds: []hold{{`client asks`, 0}}}},
	{"pods are judged by generation", sandbox.OmitJudgeGeneration, []string{"left"},
		scenario{verbs: []sandbox.Verb{s, p}, killed: 1, redelivered: 1,
			guide: []string{`asks gateway 0 to start`, `p0 gets start`, `p0 creates the record`, `p1 gets start`, `answers start`,
				`asks gateway 1 to pause`, `p1 acks \(pause`, `p0 creates the volume`, `p0 creates the pod`, `p0 dies`},
			holds: []hold{{`^p0 `, 3}, {`dies before`, 0}, {`client asks`, 0}}}},
	{"every resync compares all keys", sandbox.OmitCompareKeys, []string{"phantom"},
		scenario{verbs: []sandbox.Verb{s, x}, restarts: 1, guide: []string{`deletes the record`, `w0 is restarted`}, holds: []hold{{`restarted`, 0}}}},
	{"a bucket is complete only after a fresh list", sandbox.OmitFreshList, []string{"lost"},
		scenario{verbs: []sandbox.Verb{s}, wipes: 1,
			guide: []string{`answers start`, `loses the bucket`, `marks the bucket complete`, `gateway 0 sees the new bucket`},
			holds: []hold{{`sees the record`, 0}, {`w0 looks`, 0}}}},
	{"a pod that is ending is replaced by the next incarnation's", sandbox.OmitReplaceEnding, []string{"one"},
		scenario{verbs: []sandbox.Verb{s, s}, lost: 1, forever: true,
			guide: []string{`asks gateway 0 to start`, `answers start#0`, `is lost with its node`, `asks gateway 1 to start`, `answers start#1`},
			holds: []hold{{`client asks`, 0}, {`is lost with`, 0}}}},
	{"an absent key is created only for a live record", sandbox.OmitLiveKeyCreate, []string{"phantom", "back"},
		scenario{verbs: []sandbox.Verb{s, x, s}, watchers: 2,
			guide: []string{`asks gateway 0 to start`, `answers start`, `w1 looks`, `asks gateway 0 to stop`, `deletes the record`, `w0 deletes the key`, `w1 looks`},
			holds: []hold{{`client asks`, 0}, {`w1 sees`, 2}}}},
	{"a clock's command fits only what no client asked for since", sandbox.OmitClockFence, []string{"clock"},
		scenario{verbs: []sandbox.Verb{s, s}, clocks: 1,
			guide: []string{`asks gateway 0 to start`, `answers start`, `w0's clock publishes`, `asks gateway 1 to start`, `p. acks \(start\)`, `gets pause`},
			holds: []hold{{`client asks`, 0}, {`clock publishes`, 0}, {`gets pause`, 0}}}},
	{"a place is taken before the write", sandbox.OmitTakeFirst, []string{"counted"},
		scenario{verbs: []sandbox.Verb{s, p, r}, limited: true, killed: 1}},
	{"a place is given back after the write", sandbox.OmitReleaseLast, []string{"counted"},
		scenario{verbs: []sandbox.Verb{s, p, r}, limited: true, killed: 1}},
	{"a place is given back by its name", sandbox.OmitPlaceName, []string{"counted"},
		scenario{verbs: []sandbox.Verb{s, p, r}, limited: true,
			guide: []string{`asks gateway 0 to start`, `answers start`, `asks gateway 0 to pause`, `p0 gets pause`, `p0 swaps the record`,
				`asks gateway 1 to resume`, `p1 acks \(resume`},
			holds: []hold{{`client asks`, 0}, {`p1 gets pause`, 3}, {`^p0 `, 5}}}},
}

// walksPerRule bounds the search for a trace. The measured ones need fewer than a
// quarter of it.
const walksPerRule = 25

// seedOf is where the walks begin; SANDBAR_SEED chooses another.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("SANDBAR_SEED")
	if text == "" {
		return 1
	}
	n, err := strconv.ParseUint(text, 10, 64)
	must(t, err)
	return n
}

// TestProtocolHolds walks every scenario with all rules in place.
func TestProtocolHolds(t *testing.T) {
	w := newWorld(t)
	walks := 3
	if text := os.Getenv("SANDBAR_WALKS"); text != "" {
		var err error
		walks, err = strconv.Atoi(text)
		must(t, err)
	}
	steps, first := 0, seedOf(t)
	begin := time.Now()
	all := []scenario{{redelivered: 2, killed: 2, lostAcks: 1, vanishing: 1, failing: 1, evicting: 1, lost: 1, wipes: 1, late: 1, restarts: 1, watchers: 2, clocks: 1, busy: 2, slow: 50}}
	all = append(all, scenario{limited: true, clocks: 2, redelivered: 2, killed: 2, lostAcks: 1, failing: 1, late: 1, watchers: 2, busy: 2, slow: 50})
	// The earlier of two pauses looks when the later has deleted the pod.
	all = append(all, scenario{verbs: []sandbox.Verb{s, p, p},
		guide: []string{`asks gateway 0 to start`, `answers start`, `asks gateway 0 to pause`, `p0 gets pause#1`, `p0 swaps the record`,
			`asks gateway 1 to pause`, `p1 deletes pod`, `p1 acks`},
		holds: []hold{{`client asks`, 0}, {`p1 gets pause`, 3}, {`^p0 `, 5}, {`pod 1 ends`, 0}}})
	for _, rule := range rules {
		all = append(all, rule.scenario)
	}
	for i, sc := range all {
		for n := range walks {
			seed := first + uint64(n)
			trace, err := w.walk(t.Context(), sc, seed)
			steps += len(trace)
			if err != nil {
				t.Fatalf("scenario %d, seed %d: %v\n%s", i, seed, err, numbered(trace))
			}
		}
	}
	t.Logf("%d walks, %d steps, %s", walks*len(all), steps, time.Since(begin).Round(time.Millisecond))
}

// TestEachRuleIsNeeded takes one rule out at a time and searches for the trace
// that breaks then.
func TestEachRuleIsNeeded(t *testing.T) {
	w := newWorld(t)
	for _, rule := range rules {
		t.Run(strings.ReplaceAll(rule.name, " ", "_"), func(t *testing.T) {
			sc := rule.scenario
			sc.omit = rule.omit
			first, last := seedOf(t), ""
			for n := range uint64(walksPerRule) {
				trace, err := w.walk(t.Context(), sc, first+n)
				if err == nil {
					last = numbered(trace)
					continue
				}
				var v *violation
				if !errors.As(err, &v) {
					t.Fatalf("seed %d: %v\n%s", first+n, err, numbered(trace))
				}
				for _, b := range rule.breaks {
					if v.rule == b {
						t.Logf("without it, after %d walks: %v\n%s", n+1, v, numbered(trace))
						return
					}
				}
				t.Fatalf("seed %d breaks something else: %v\n%s", first+n, err, numbered(trace))
			}
			t.Fatalf("%d walks without this rule, and nothing broke; the last was\n%s", walksPerRule, last)
		})
	}
}

func numbered(trace []string) string {
	var b strings.Builder
	for i, line := range trace {
		fmt.Fprintf(&b, "%4d %s\n", i+1, line)
	}
	return b.String()
}
