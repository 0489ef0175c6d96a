package gotest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/tools/testrun/internal/gotest"
)

// replay feeds a recorded stream, cut after lines lines where that is not 0.
func replay(t *testing.T, into *gotest.Results, name string, lines int) (ended []gotest.Finished, failed bool) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	run := gotest.NewRun(into)
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		if lines != 0 && i == lines {
			break
		}
		e, ok := gotest.Decode(line)
		if !ok {
			t.Fatalf("%s:%d is no event", name, i+1)
		}
		ended = append(ended, run.Add(e)...)
	}
	rest, failed := run.Close()
	return append(ended, rest...), failed
}

func TestRecordedStreams(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		cut                     int
		passed, failed, skipped int
		failures                string // leaves that failed
		says                    string // in the output of one of them
		bad                     bool
	}{
		"good":   {passed: 3, skipped: 1},
		"bad":    {passed: 2, failed: 2, failures: "bad TestLeaf/x, bad TestParentOnly", says: "x is wrong", bad: true},
		"boom":   {passed: 1, failed: 1, failures: "boom TestPanics", says: "assignment to entry in nil map", bad: true},
		"broken": {failed: 1, failures: "broken", says: "undefined: undefined", bad: true},
		"none":   {},
		"exits":  {failed: 1, failures: "exits TestExits", says: "leaving", bad: true},
		"tmain":  {passed: 1, failed: 1, failures: "tmain", says: "goleak: found unexpected", bad: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var results gotest.Results
			_, bad := replay(t, &results, name, tt.cut)
			check(t, &results, tt.passed, tt.failed, tt.skipped)
			if bad != tt.bad {
				t.Errorf("failed = %v, want %v", bad, tt.bad)
			}
			names, output := failures(&results)
			if names != tt.failures || !strings.Contains(output, tt.says) {
				t.Errorf("failures %q say %q; want %q to say %q", names, output, tt.failures, tt.says)
			}
		})
	}
}

func check(t *testing.T, results *gotest.Results, passed, failed, skipped int) {
	t.Helper()
	p, f, s := results.Count(gotest.Passed), results.Count(gotest.Failed), results.Count(gotest.Skipped)
	if p != passed || f != failed || s != skipped {
		t.Errorf("passed, failed, skipped = %d, %d, %d; want %d, %d, %d", p, f, s, passed, failed, skipped)
	}
}

func failures(results *gotest.Results) (names, output string) {
	var all []string
	for _, test := range results.Tests() {
		if test.Leaf && test.Outcome == gotest.Failed {
			all = append(all, strings.TrimPrefix(test.ID.String(), "example.test/rec/"))
			output += test.Output
		}
	}
	return strings.Join(all, ", "), output
}

// TestKilledStream: whatever was open when the stream broke off has failed.
func TestKilledStream(t *testing.T) {
	t.Parallel()
	for cut := 1; cut < 28; cut++ { // before the last line, which ends the package
		var results gotest.Results
		if _, bad := replay(t, &results, "bad", cut); !bad {
			t.Errorf("cut after line %d: not failed", cut)
		}
		if results.Count(gotest.Failed) == 0 {
			t.Errorf("cut after line %d: no failed test", cut)
		}
	}
}

func TestAWorseOutcomeStays(t *testing.T) {
	t.Parallel()
	var results gotest.Results
	id := gotest.ID{Package: "p", Test: "T"}
	for _, step := range []struct{ set, want gotest.Outcome }{
		{gotest.Passed, gotest.Passed},
		{gotest.Skipped, gotest.Skipped},
		{gotest.Passed, gotest.Skipped},
		{gotest.Failed, gotest.Failed},
		{gotest.Passed, gotest.Failed},
	} {
		results.Set(id, step.set, "")
		if got := results.Outcome(id); got != step.want {
			t.Errorf("after %s: %s, want %s", step.set, got, step.want)
		}
	}
	check(t, &results, 0, 1, 0)
}

func TestPackageFailureInASecondRunIsCounted(t *testing.T) {
	t.Parallel()
	var results gotest.Results
	replay(t, &results, "good", 0)
	replay(t, &results, "tmain", 0)
	replay(t, &results, "tmain", 0) // the same in another phase is one test
	check(t, &results, 4, 1, 1)
}

func TestAttrs(t *testing.T) {
	t.Parallel()
	var results gotest.Results
	replay(t, &results, "good", 0)
	var got []string
	for _, a := range results.Attrs() {
		got = append(got, a.ID.Test+" "+a.Key+"="+a.Value)
	}
	want := "TestTable/a conformance=7 real|TestTable/a conformance=8 simulated|TestTable/a other=x|" +
		"TestTable/b conformance=7 real|TestTable/b conformance=8 simulated|TestTable/b other=x|TestSkipped conformance=9 apiserver"
	if strings.Join(got, "|") != want {
		t.Errorf("attrs = %q", got)
	}
}

func TestDecodeLeavesTextAlone(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"", "go: downloading x v1", "{not json", `{"other":"json"}`, `["a"]`} {
		if e, ok := gotest.Decode(line); ok {
			t.Errorf("%q decoded as %+v", line, e)
		}
	}
}
