package conformance_test

import (
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/tools/testrun/internal/conformance"
	"github.com/sandbar-io/sandbar/tools/testrun/internal/gotest"
)

// claim is one test that declares one check and ends with action.
type claim struct{ test, value, action string }

func judge(required []int, claims ...claim) conformance.Verdict {
	var results gotest.Results
	run := gotest.NewRun(&results)
	for _, c := range claims {
		run.Add(gotest.Event{Action: "run", Package: "p", Test: c.test})
		run.Add(gotest.Event{Action: "attr", Package: "p", Test: c.test, Key: "conformance", Value: c.value})
		run.Add(gotest.Event{Action: c.action, Package: "p", Test: c.test})
	}
	return conformance.Judge(&results, required)
}

func TestJudge(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		required []int
		claims   []claim
		problem  string
		cause    gotest.Outcome
	}{
		"passed":                    {[]int{7}, []claim{{"A", "7 real", "pass"}}, "", 0},
		"one passed, one skipped":   {[]int{7}, []claim{{"A", "7 real", "pass"}, {"B", "7 simulated", "skip"}}, "", 0},
		"missing":                   {[]int{7}, []claim{{"A", "8 real", "pass"}}, "conformance check 7 has no test", gotest.Running},
		"failed":                    {[]int{7}, []claim{{"A", "7 real", "fail"}}, "conformance check 7 failed: p A", gotest.Failed},
		"one failed, one passed":    {[]int{7}, []claim{{"A", "7 real", "pass"}, {"B", "7 real", "fail"}}, "conformance check 7 failed: p B", gotest.Failed},
		"skipped":                   {[]int{7}, []claim{{"A", "7 real", "skip"}}, "conformance check 7 was skipped: p A", gotest.Skipped},
		"never ended":               {[]int{7}, []claim{{"A", "7 real", ""}}, "conformance check 7 failed: p A", gotest.Failed},
		"not required":              {nil, []claim{{"A", "7 real", "fail"}}, "", 0},
		"no number":                 {nil, []claim{{"A", "x real", "pass"}}, "number from 1 to 70", gotest.Running},
		"number out of the table":   {nil, []claim{{"A", "71 real", "pass"}}, "number from 1 to 70", gotest.Running},
		"place that does not exist": {nil, []claim{{"A", "7 moon", "pass"}}, "real node, simulated, API server or unit", gotest.Running},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := judge(tt.required, tt.claims...)
			if tt.problem == "" {
				if len(v.Problems) != 0 {
					t.Errorf("problems = %v", v.Problems)
				}
				return
			}
			if len(v.Problems) != 1 || !strings.Contains(v.Problems[0].Text, tt.problem) || v.Problems[0].Cause != tt.cause {
				t.Errorf("problems = %v, want one that says %q, cause %s", v.Problems, tt.problem, tt.cause)
			}
		})
	}
}

func TestRowsAreSortedAndEachOnce(t *testing.T) {
	t.Parallel()
	v := judge(nil, claim{"B", "9 unit", "pass"}, claim{"C", "12 API server", "pass"}, claim{"D", "13 real node", "pass"}, claim{"A", "7 apiserver", "pass"}, claim{"A", "7 apiserver", "pass"})
	if len(v.Rows) != 4 || len(v.Problems) != 0 || v.Rows[0].Check != 7 || v.Rows[0].Where != "API server" || v.Rows[1].ID.Test != "B" {
		t.Errorf("rows = %+v", v.Rows)
	}
}

func TestRequired(t *testing.T) {
	t.Parallel()
	has := map[int]bool{}
	for _, n := range conformance.Required() {
		has[n] = true
	}
	for n := 1; n <= 70; n++ {
		want := n <= 57 || n >= 59 && n <= 70
		if has[n] != want {
			t.Errorf("check %d required = %v, want %v", n, has[n], want)
		}
	}
}
