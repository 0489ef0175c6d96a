//go:build openhands

package main_test

import (
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// expectation is something that a client logs and that is no fault of Sandbar.
type expectation struct {
	pattern *regexp.Regexp
	reason  string
}

// usual are what each driver may log, for the machine is busy.
var usual = []expectation{
	// The client's socket tries again after 1, 2, 4 … 30 s while the sandbox is away, so a
	// short run right after a resume ends before it listens again, and a slow one may too.
	// That it never does would be another line, after 30 s more.
	{
		regexp.MustCompile(`"WARNING".*REST has reported terminal status finished for 3 polls without a post-run WebSocket snapshot`),
		"the client's own pause between two tries of its socket",
	},
	// It asks again; a client that never gets through fails its driver.
	{regexp.MustCompile(`"WARNING".*Health check failed: `), "a look at /health that took longer than the client's 5 s"},
}

// judge fails the test for each line of a client's log that is a warning or worse,
// or no log line at all, unless it is expected.
func judge(t *testing.T, script, logs string, expected []expectation) {
	t.Helper()
	expected = slices.Concat(expected, usual)
	for line := range strings.Lines(logs) {
		line = strings.TrimSpace(line)
		if line == "" || harmless(line) {
			continue
		}
		known := slices.IndexFunc(expected, func(e expectation) bool { return e.pattern.MatchString(line) })
		if known >= 0 {
			t.Logf("%s logs what is expected (%s): %.300s", script, expected[known].reason, line)
			continue
		}
		t.Errorf("%s logs: %.2000s", script, line)
	}
}

// harmless lines are of the clients' own loggers, at a level below warning. The SDK's
// calls it levelname, those of the app server and the legacy client level.
func harmless(line string) bool {
	var entry struct {
		Level string `json:"levelname"`
		Other string `json:"level"`
	}
	if json.Unmarshal([]byte(line), &entry) != nil {
		return false
	}
	level := cmp.Or(entry.Level, entry.Other)
	return level == "INFO" || level == "DEBUG"
}
