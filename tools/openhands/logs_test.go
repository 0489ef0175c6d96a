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

// overAPause is for drivers that keep a conversation over a pause. The client's socket
// tries again after 1, 2, 4 … 30 s while the sandbox is away, so a short run right after
// the resume ends before it listens again. That it never does would be another line, after
// 30 s more.
var overAPause = expectation{
	regexp.MustCompile(`"WARNING".*REST has reported terminal status finished for 3 polls without a post-run WebSocket snapshot`),
	"the client's own pause between two tries of its socket",
}

// judge fails the test for each line of a client's log that is a warning or worse,
// or no log line at all, unless it is expected.
func judge(t *testing.T, script, logs string, expected []expectation) {
	t.Helper()
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
