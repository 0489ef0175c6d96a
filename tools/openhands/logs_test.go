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

// always are the expectations of every driver.
var always = []expectation{}

// judge fails the test for each line of a client's log that is a warning or worse,
// or no log line at all, unless it is expected.
func judge(t *testing.T, script, logs string, expected []expectation) {
	t.Helper()
	for line := range strings.Lines(logs) {
		line = strings.TrimSpace(line)
		if line == "" || harmless(line) {
			continue
		}
		matches := func(e expectation) bool { return e.pattern.MatchString(line) }
		if slices.ContainsFunc(always, matches) || slices.ContainsFunc(expected, matches) {
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
