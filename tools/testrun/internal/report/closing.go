package report

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sandbar-io/sandbar/tools/testrun/internal/conformance"
	"github.com/sandbar-io/sandbar/tools/testrun/internal/gotest"
	"github.com/sandbar-io/sandbar/tools/testrun/internal/phase"
)

// Closing is all that the end of a run tells.
type Closing struct {
	Results *gotest.Results
	Verdict conformance.Verdict
	Judged  bool // the verdict counts: everything ran
	Times   []phase.Time
	Strip   string // prefix of every package of ours
	CI      bool   // a skipped test is a failed one
}

// Print ends with the line `N passed, N failed` and reports whether the run is good.
func (c Closing) Print(to io.Writer) bool {
	out := &strings.Builder{}
	passed, failed := c.Results.Count(gotest.Passed), c.Results.Count(gotest.Failed)
	skipped := c.Results.Count(gotest.Skipped)
	c.conformance(out)
	c.list(out, "skipped", gotest.Skipped)
	c.list(out, "failed", gotest.Failed)
	if c.CI && skipped > 0 {
		fmt.Fprintf(out, "\n%d skipped counted as failed: no test skips itself in CI\n", skipped)
		failed += skipped
	}
	for _, p := range c.Verdict.Problems {
		// What a test is to blame for is counted as that test.
		if p.Cause == gotest.Running || p.Cause == gotest.Skipped && !c.CI {
			failed++
		}
	}
	if passed+failed == 0 {
		fmt.Fprintln(out, "\nno test ran")
		failed = 1
	}
	c.times(out)
	c.again(out)
	fmt.Fprintf(out, "\n%d passed, %d failed\n", passed, failed)
	_, _ = io.WriteString(to, out.String()) // nobody to be told to
	return failed == 0
}

func (c Closing) conformance(out *strings.Builder) {
	if len(c.Verdict.Rows)+len(c.Verdict.Problems) == 0 {
		return
	}
	fmt.Fprintln(out, "\n== conformance (docs/contract.md 11)")
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "check\ttest\twhere\toutcome")
	for _, r := range c.Verdict.Rows {
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\n", r.Check, c.short(r.ID), r.Where, r.Outcome)
	}
	_ = table.Flush() // into memory
	for _, p := range c.Verdict.Problems {
		fmt.Fprintln(out, p.Text)
	}
	if !c.Judged {
		fmt.Fprintln(out, "(not all tests ran: missing checks are not looked for)")
	}
}

func (c Closing) list(out *strings.Builder, title string, outcome gotest.Outcome) {
	head := "\n== " + title + "\n"
	for _, t := range c.Results.Tests() {
		if !t.Leaf || t.Outcome != outcome {
			continue
		}
		out.WriteString(head)
		head = ""
		fmt.Fprintf(out, "%s: %s\n", c.short(t.ID), reason(t.Output))
	}
}

// saidEnds is how many lines of a test's ends its reason holds: what failed is
// said first or last, among what was only told.
const saidEnds = 6

// reason is what a test said: all of it, or its ends.
func reason(output string) string {
	said := saidBy(output)
	if left := len(said) - 2*saidEnds; left > 0 {
		said = slices.Concat(said[:saidEnds], []string{fmt.Sprintf("(%d lines more)", left)}, said[len(said)-saidEnds:])
	}
	return strings.Join(said, "\n    ")
}

// saidBy is what a test said, by line.
func saidBy(output string) []string {
	said := strings.Split(strings.TrimSpace(Quote(output)), "\n")
	for i, line := range said {
		said[i] = strings.TrimSpace(line)
	}
	return said
}

func (c Closing) times(out *strings.Builder) {
	fmt.Fprintln(out, "\n== time")
	var all time.Duration
	for _, t := range c.Times {
		fmt.Fprintln(out, strings.TrimRight(fmt.Sprintf("%-12s %8s  %s", t.Name, t.Took.Round(100*time.Millisecond), t.Busy), " "))
		all += t.Took
	}
	fmt.Fprintf(out, "%-12s %8s\n", "all", all.Round(100*time.Millisecond))
}

// again names what failed once more, a line each: who reads only the end of a long
// run, or is shown no more of it, sees which these are and why.
func (c Closing) again(out *strings.Builder) {
	head := "\n== failed, in short\n"
	for _, t := range c.Results.Tests() {
		if !t.Leaf || t.Outcome != gotest.Failed {
			continue
		}
		out.WriteString(head)
		head = ""
		fmt.Fprintf(out, "%s: %s\n", c.short(t.ID), inShort(t.Output))
	}
}

// place is how a line begins by which a test says something.
var place = regexp.MustCompile(`^\S+_test\.go:\d+: `)

// inShort is the beginning of each thing that a test said; of what others have said in
// its output nothing, unless it said nothing itself. An output does not tell an error from
// what was only told: the last few are kept, for the error that ended it is among them.
func inShort(output string) string {
	const first, last, width = 2, 4, 200
	said := saidBy(output)
	if own := slices.DeleteFunc(slices.Clone(said), func(s string) bool { return !place.MatchString(s) }); len(own) > 0 {
		said = own
	}
	for i, line := range said {
		if runes := []rune(line); len(runes) > width {
			said[i] = string(runes[:width]) + "…"
		}
	}
	if len(said) > first+last {
		said = slices.Concat(said[:first], []string{"…"}, said[len(said)-last:])
	}
	return strings.Join(said, " / ")
}

func (c Closing) short(id gotest.ID) string { return strings.TrimPrefix(id.String(), c.Strip) }
