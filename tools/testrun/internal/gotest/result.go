package gotest

import (
	"iter"
	"slices"
	"strings"
)

// Outcome of a test; a larger one wins where a test ran more than once.
type Outcome int

// Running is the outcome of a test that began and was never heard of again.
const (
	Running Outcome = iota
	Passed
	Skipped
	Failed
)

func (o Outcome) String() string {
	return [...]string{"running", "passed", "skipped", "failed"}[o]
}

var outcomes = map[string]Outcome{"pass": Passed, "skip": Skipped, "fail": Failed}

// ID names a test. A failure that belongs to no test (a build, a TestMain, a
// phase that could not be set up) has an ID without Test.
type ID struct{ Package, Test string }

func (id ID) String() string { return strings.TrimSpace(id.Package + " " + id.Test) }

// Attr is what a test said of itself with t.Attr.
type Attr struct {
	ID         ID
	Key, Value string
}

// Test is one test with its outcome.
type Test struct {
	ID      ID
	Outcome Outcome
	Output  string // of failed and skipped ones
	Leaf    bool   // counts; a test with subtests does only when it failed or skipped by itself
}

// Results keeps the outcome of every test. The zero value is empty.
type Results struct {
	tests map[ID]*Test
	attrs []Attr
}

// Set notes the outcome of a test; a worse one that is known already stays.
func (r *Results) Set(id ID, outcome Outcome, output string) {
	if r.tests == nil {
		r.tests = map[ID]*Test{}
	}
	t := r.tests[id]
	if t == nil {
		t = &Test{ID: id}
		r.tests[id] = t
	}
	if outcome >= t.Outcome {
		t.Outcome, t.Output = outcome, output
	}
}

// Tests lists all in order of package and name, with Leaf decided.
func (r *Results) Tests() []Test {
	failedBelow, parents := map[ID]bool{}, map[ID]bool{}
	for id, t := range r.tests {
		for parent := range id.Ancestors() {
			parents[parent] = true
			failedBelow[parent] = failedBelow[parent] || t.Outcome == Failed
		}
	}
	all := make([]Test, 0, len(r.tests))
	for id, t := range r.tests {
		test := *t
		test.Leaf = !parents[id] || t.Outcome == Skipped || t.Outcome == Failed && !failedBelow[id]
		all = append(all, test)
	}
	slices.SortFunc(all, func(a, b Test) int { return strings.Compare(a.ID.String(), b.ID.String()) })
	return all
}

// Ancestors yields the tests that id is a subtest of. A subtest's own name may
// hold slashes, so some of them may not exist.
func (id ID) Ancestors() iter.Seq[ID] {
	return func(yield func(ID) bool) {
		name := id.Test
		for i := strings.LastIndexByte(name, '/'); i >= 0; i = strings.LastIndexByte(name, '/') {
			name = name[:i]
			if !yield(ID{id.Package, name}) {
				return
			}
		}
	}
}

// Outcome of one test; Running where it is unknown.
func (r *Results) Outcome(id ID) Outcome {
	if t := r.tests[id]; t != nil {
		return t.Outcome
	}
	return Running
}

// Attrs lists what the tests said of themselves, in order.
func (r *Results) Attrs() []Attr { return r.attrs }

// Count is how many leaves had an outcome.
func (r *Results) Count(o Outcome) int {
	n := 0
	for _, t := range r.Tests() {
		if t.Leaf && t.Outcome == o {
			n++
		}
	}
	return n
}

// Len is how many tests there are, leaves or not.
func (r *Results) Len() int { return len(r.tests) }
