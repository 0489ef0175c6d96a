package report_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/testrun/internal/conformance"
	"github.com/sandbar-io/sandbar/tools/testrun/internal/gotest"
	"github.com/sandbar-io/sandbar/tools/testrun/internal/phase"
	"github.com/sandbar-io/sandbar/tools/testrun/internal/report"
)

const strip = "example.test/rec/"

// play shows a recorded stream and returns what was printed.
func play(t *testing.T, results *gotest.Results, verbose bool, names ...string) string {
	t.Helper()
	var out strings.Builder
	live := report.NewLive(&out, strip, verbose, time.Now)
	live.Phase("unit", "what it is")
	for _, name := range names {
		text, err := os.ReadFile("../gotest/testdata/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		run := gotest.NewRun(results)
		for line := range strings.Lines(string(text)) {
			e, _ := gotest.Decode(line)
			live.Event(e)
			for _, f := range run.Add(e) {
				live.Finished(f)
			}
		}
	}
	return out.String()
}

func TestLive(t *testing.T) {
	t.Parallel()
	got := play(t, &gotest.Results{}, false, "good", "bad", "broken")
	for _, want := range []string{
		"== unit: what it is\n",
		"ok    good ", "  3 passed\n",
		"--- SKIP: good TestSkipped\n        a_test.go:9: no node here\n",
		"--- FAIL: bad TestLeaf/x (0.0s)\n        a_test.go:9: context\n        a_test.go:9: x is wrong\n",
		"--- FAIL: bad TestParentOnly (0.0s)\n        a_test.go:5: after the children\n",
		"FAIL  bad ",
		"    broken/a_test.go:3:28: undefined: undefined\nFAIL  broken ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	for _, unwanted := range []string{"=== RUN", "FAIL: bad TestLeaf (", "a_test.go:3: fine"} {
		if strings.Contains(got, unwanted) {
			t.Errorf("%q in:\n%s", unwanted, got)
		}
	}
}

func TestLiveVerboseShowsWhatPassed(t *testing.T) {
	t.Parallel()
	if got := play(t, &gotest.Results{}, true, "good"); !strings.Contains(got, "a_test.go:3: fine\n") {
		t.Errorf("output of a passed test is missing:\n%s", got)
	}
}

// TestParentOfASlashedName: the parent of a/b/c may be a, and has nothing to add.
func TestParentOfASlashedName(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	live := report.NewLive(&out, "", false, time.Now)
	live.Phase("p", "")
	for _, name := range []string{"T/services/router", "T"} {
		live.Finished(gotest.Finished{ID: gotest.ID{Package: "p", Test: name}, Outcome: gotest.Failed, Output: "--- FAIL: x\n"})
	}
	if got := strings.Count(out.String(), "--- FAIL"); got != 1 {
		t.Errorf("%d failures were shown:\n%s", got, out.String())
	}
}

func TestTick(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	now := time.Unix(0, 0)
	live := report.NewLive(&out, "m/", false, func() time.Time { return now })
	live.Phase("p", "")
	now = now.Add(90 * time.Second)
	live.Tick(nil)
	live.Tick([]gotest.ID{{Package: "m/a", Test: "T1"}, {Package: "m/a", Test: "T2"}, {Package: "m/a", Test: "T3"}, {Package: "m/a", Test: "T4"}})
	for _, want := range []string{"1m30s, 0 passed; now (building)\n", "now a T1, a T2, a T3 and 1 more\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %q", want, out.String())
		}
	}
}

func TestClosing(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		streams  []string
		ci       bool
		required []int
		last     string
		says     []string
		good     bool
	}{
		"good":               {[]string{"good"}, false, nil, "3 passed, 0 failed", []string{"== skipped\ngood TestSkipped: a_test.go:9: no node here"}, true},
		"a skip fails in CI": {[]string{"good"}, true, nil, "3 passed, 1 failed", []string{"no test skips itself in CI"}, false},
		"failures": {[]string{"good", "bad", "broken"}, false, nil, "5 passed, 3 failed", []string{
			"== failed\nbad TestLeaf/x: a_test.go:9: context\n    a_test.go:9: x is wrong",
			"== failed, in short\nbad TestLeaf/x: a_test.go:9: context / a_test.go:9: x is wrong\n",
		}, false},
		"checks hold":               {[]string{"good"}, false, []int{7, 8}, "3 passed, 0 failed", []string{"7      good TestTable/b  real node   passed"}, true},
		"check missing":             {[]string{"good"}, false, []int{7, 11}, "3 passed, 1 failed", []string{"conformance check 11 has no test"}, false},
		"check skipped":             {[]string{"good"}, false, []int{9}, "3 passed, 1 failed", []string{"conformance check 9 was skipped: example.test/rec/good TestSkipped"}, false},
		"check skipped in CI":       {[]string{"good"}, true, []int{9}, "3 passed, 1 failed", []string{"conformance check 9 was skipped"}, false},
		"check failed, not doubled": {[]string{"bad"}, false, []int{10}, "2 passed, 2 failed", []string{"conformance check 10 failed: example.test/rec/bad TestLeaf"}, false},
		"nothing ran":               {[]string{"none"}, false, nil, "0 passed, 1 failed", []string{"no test ran"}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var results gotest.Results
			play(t, &results, false, tt.streams...)
			var out strings.Builder
			good := report.Closing{
				Results: &results, Verdict: conformance.Judge(&results, tt.required), Judged: true, Strip: strip, CI: tt.ci,
				Times: []phase.Time{{Name: "unit", Took: 1500 * time.Millisecond, Busy: "busy"}},
			}.Print(&out)
			if good != tt.good || !strings.HasSuffix(out.String(), "\n"+tt.last+"\n") {
				t.Errorf("good = %v, last line of\n%s\nwant %v, %q", good, out.String(), tt.good, tt.last)
			}
			for _, want := range append(tt.says, "unit             1.5s  busy\n") {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in:\n%s", want, out.String())
				}
			}
		})
	}
}

// Among what others print, and a test tells, the short line has the error that ended it.
func TestTheShortLineHasTheLastError(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ output, want string }{
		"its own": {
			"    2026/01/02 server: handshake\n    a_test.go:1: ready\n    b_test.go:2: wrong:\n        {\"asctime\"\n    server: bye\n",
			"a_test.go:1: ready / b_test.go:2: wrong:\n",
		},
		"a panic":    {"panic: oh\ngoroutine 1\n", "panic: oh / goroutine 1\n"},
		"long lines": {"    a_test.go:1: " + strings.Repeat("é", 300) + "\n    a_test.go:2: end\n", strings.Repeat("é", 187) + "… / a_test.go:2: end\n"},
		"many": {
			strings.Repeat("    a_test.go:1: told\n", 20) + "    a_test.go:2: wrong\n    rig_test.go:3: log\n",
			"a_test.go:1: told / a_test.go:1: told / … / a_test.go:1: told / a_test.go:1: told / a_test.go:2: wrong / rig_test.go:3: log\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var results gotest.Results
			var out strings.Builder
			results.Set(gotest.ID{Package: strip + "p", Test: "TestX"}, gotest.Failed, tt.output)
			report.Closing{Results: &results, Strip: strip}.Print(&out)
			_, short, found := strings.Cut(out.String(), "== failed, in short\n")
			if !found || !strings.HasPrefix(short, "p TestX: ") || !strings.Contains(short, tt.want) {
				t.Errorf("%q, want %q", short, tt.want)
			}
		})
	}
}

// What failed is said first or last; a long log between is left out.
func TestClosingTellsTheEndsOfALongOutput(t *testing.T) {
	t.Parallel()
	var results gotest.Results
	var output, out strings.Builder
	for i := range 40 {
		fmt.Fprintf(&output, "    a_test.go:%d: said\n", i)
	}
	results.Set(gotest.ID{Package: strip + "p", Test: "TestLong"}, gotest.Failed, output.String())
	report.Closing{Results: &results, Strip: strip}.Print(&out)
	for _, want := range []string{"p TestLong: a_test.go:0: said\n", "    a_test.go:5: said\n    (28 lines more)\n    a_test.go:34: said\n", "    a_test.go:39: said\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
