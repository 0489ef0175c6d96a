package report_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/robustness/internal/check"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/history"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/report"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/soak"
)

func TestReport(t *testing.T) {
	t.Parallel()
	ms := time.Millisecond
	h := &history.History{
		Ops: []history.Op{
			{Verb: history.Start, Invoked: 0, Returned: 40 * ms, Outcome: history.OK, HTTP: 200},
			{Verb: history.Start, Invoked: 150 * ms, Returned: 400 * ms, Outcome: history.Unknown},
			{Verb: history.List, Invoked: 600 * ms, Returned: 602 * ms, Outcome: history.Unknown, HTTP: 503},
		},
		Faults: []history.Fault{
			{Round: 1, Kind: "kill", Begin: 100 * ms, Healed: 200 * ms, Calm: 500 * ms},
			{Round: 2, Kind: "kill", Begin: 700 * ms, Healed: 800 * ms, Calm: 900 * ms},
		},
		Pods: []history.Pod{{UID: "u"}, {UID: "u", Node: "n"}, {UID: "u", Node: "n"}},
	}
	var found check.Result
	for range 7 {
		found.Violations = append(found.Violations, check.Violation{Invariant: check.OnePod, Text: "two", Piece: []string{"first", "second"}})
	}
	r := report.New(4711, h, found, []soak.Series{{
		Kind: "gateway", Figure: history.Memory, Samples: 50, First: 20 << 20, Median: 30 << 20, Highest: 90 << 20, Last: 80 << 20,
		Time: soak.Trend{Early: 25 << 20, Late: 80 << 20, Limit: 53 << 20}, Judged: true, Problem: "memory of gateway grows",
	}})
	var text, raw bytes.Buffer
	if err := r.Text(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"seed 4711: 3 operations in 2 fault rounds, 1s\n", "1 pods ran",
		"start          2       1       0       1       0    40ms    40ms  0 of 1; map[200:1 none:1]\n", "1 of 1; map[503:1]\n",
		"kill               2  100ms 300ms\n", "VIOLATION of \"one pod per session\": two\n    first\n    second\n", "7 violations of",
		"gateway         memory              50      20      30      90      80  25 80, at most 53 ",
		"VIOLATION of \"what processes hold stays flat\": memory of gateway grows\n", "1 violations of \"what",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
	if n := strings.Count(text.String(), "VIOLATION"); n != 6 {
		t.Errorf("%d violations are shown, want 6", n)
	}
	if err := r.JSON(&raw); err != nil {
		t.Fatal(err)
	}
	var back report.Report
	if err := json.Unmarshal(raw.Bytes(), &back); err != nil || back.Seed != 4711 || len(back.Violations) != 8 || len(back.Held) != 1 {
		t.Errorf("%+v, %v", back, err)
	}
	text.Reset()
	if err := report.New(1, &history.History{}, check.Result{}, nil).Text(&text); err != nil || !strings.Contains(text.String(), "no violations") {
		t.Errorf("%s %v", &text, err)
	}
}
