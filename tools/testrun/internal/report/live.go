// Package report tells a person how a test run goes and how it went.
package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sandbar-io/sandbar/tools/testrun/internal/gotest"
)

// Live prints what happens while it happens. It is not safe for concurrent use.
type Live struct {
	out     io.Writer
	verbose bool
	strip   string // prefix of every package of ours
	begin   time.Time
	now     func() time.Time

	passed  int                // leaves of the phase
	counts  map[string]int     // passed leaves by package
	parents map[gotest.ID]bool // tests that had subtests
}

// NewLive prints to out; verbose shows the output of passing tests too.
func NewLive(out io.Writer, strip string, verbose bool, now func() time.Time) *Live {
	return &Live{out: out, verbose: verbose, strip: strip, begin: now(), now: now}
}

// Phase begins a phase.
func (l *Live) Phase(name, what string) {
	l.begin, l.passed, l.counts, l.parents = l.now(), 0, map[string]int{}, map[gotest.ID]bool{}
	l.printf("\n== %s: %s\n", name, what)
}

// Step tells what runs next.
func (l *Live) Step(text string) { l.printf("-- %s\n", text) }

// Text passes on a line that is no event.
func (l *Live) Text(line string) { l.printf("   %s\n", line) }

// Event shows output as it comes, when asked to.
func (l *Live) Event(e gotest.Event) {
	if l.verbose && e.Action == "output" {
		l.printf("%s", e.Output)
	}
}

// Finished tells of a test that did not pass, and of every package.
func (l *Live) Finished(f gotest.Finished) {
	if f.ID.Test != "" {
		l.test(f)
		return
	}
	switch f.Outcome {
	case gotest.Failed:
		l.printf("%s", l.quoted(f.Output))
		l.printf("FAIL  %-50s %6.1fs\n", l.short(f.ID), f.Seconds)
	case gotest.Passed:
		l.printf("ok    %-50s %6.1fs  %d passed\n", l.short(f.ID), f.Seconds, l.counts[f.ID.Package])
	}
}

func (l *Live) test(f gotest.Finished) {
	leaf := !l.parents[f.ID]
	for parent := range f.ID.Ancestors() {
		l.parents[parent] = true
	}
	switch f.Outcome {
	case gotest.Passed:
		if leaf {
			l.counts[f.ID.Package]++
			l.passed++
		}
	case gotest.Failed:
		// A parent has often nothing to add to what its subtest said.
		if text := l.quoted(f.Output); leaf || text != "" {
			l.printf("--- FAIL: %s (%.1fs)\n%s", l.short(f.ID), f.Seconds, text)
		}
	case gotest.Skipped:
		l.printf("--- SKIP: %s\n%s", l.short(f.ID), l.quoted(f.Output))
	}
}

// Tick says that a silent run lives.
func (l *Live) Tick(open []gotest.ID) {
	names := make([]string, 0, len(open))
	for _, id := range open {
		if !l.parents[id] {
			names = append(names, l.short(id))
		}
	}
	const shown = 3
	more := ""
	if len(names) > shown {
		more = fmt.Sprintf(" and %d more", len(names)-shown)
		names = names[:shown]
	}
	if len(names) == 0 {
		names = []string{"(building)"}
	}
	l.printf("..    %s, %d passed; now %s%s\n", l.now().Sub(l.begin).Round(time.Second), l.passed, strings.Join(names, ", "), more)
}

// quoted indents output and drops the lines by which go test frames it.
func (l *Live) quoted(output string) string {
	if l.verbose {
		return "" // shown already
	}
	return Quote(output)
}

// Quote indents the output of a test without go test's own lines.
func Quote(output string) string {
	var b strings.Builder
	for line := range strings.Lines(output) {
		trimmed := strings.TrimLeft(line, " ")
		if strings.HasPrefix(trimmed, "=== ") || strings.HasPrefix(trimmed, "--- ") ||
			trimmed == "FAIL\n" || strings.HasPrefix(trimmed, "FAIL\t") {
			continue
		}
		b.WriteString("    " + strings.TrimRight(line, "\n") + "\n")
	}
	return b.String()
}

func (l *Live) short(id gotest.ID) string { return strings.TrimPrefix(id.String(), l.strip) }

// printf: a report that cannot be written has nobody to be told to.
func (l *Live) printf(format string, args ...any) { _, _ = fmt.Fprintf(l.out, format, args...) }
