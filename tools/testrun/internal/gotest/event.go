// Package gotest understands what `go test -json` prints, and keeps the
// outcome of every test over several runs.
package gotest

import (
	"encoding/json"
	"strings"
)

// Event is one line of `go test -json`; see `go doc test2json`.
type Event struct {
	Action      string
	Package     string
	Test        string
	Elapsed     float64 // seconds
	Output      string
	ImportPath  string // of build-output and build-fail
	FailedBuild string // ImportPath of the build that failed this package
	Key, Value  string // of attr
}

// Decode reads one line; false means that the line is plain text, which the go
// command and programs run by tests mix in.
func Decode(line string) (Event, bool) {
	var e Event
	if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &e) != nil || e.Action == "" {
		return Event{}, false
	}
	return e, true
}
