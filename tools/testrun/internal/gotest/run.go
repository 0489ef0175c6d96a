package gotest

import (
	"slices"
	"strings"
)

// Run follows one `go test -json` from its first line to its end, and tells
// what became known by the events handed to it.
type Run struct {
	into   *Results
	output map[ID]*strings.Builder
	builds map[string]*strings.Builder // by ImportPath
	open   map[ID]bool
	failed map[string]bool // packages with a failed test, and those that failed themselves
}

// NewRun gathers into results.
func NewRun(into *Results) *Run {
	return &Run{
		into: into, output: map[ID]*strings.Builder{}, builds: map[string]*strings.Builder{},
		open: map[ID]bool{}, failed: map[string]bool{},
	}
}

// Finished is a test or a package (no Test) that just came to its end.
type Finished struct {
	ID      ID
	Outcome Outcome
	Seconds float64
	Output  string
}

// Add takes one event and returns what it ended: nothing, one test, or a
// package after those of its tests that it took down with it.
func (r *Run) Add(e Event) []Finished {
	id := ID{e.Package, e.Test}
	switch e.Action {
	case "start", "run":
		r.open[id] = true
	case "output":
		write(r.output, id, e.Output)
	case "build-output":
		write(r.builds, e.ImportPath, e.Output)
	case "attr":
		r.into.attrs = append(r.into.attrs, Attr{ID: id, Key: e.Key, Value: e.Value})
	case "pass", "fail", "skip":
		if e.Test == "" {
			return r.endPackage(e)
		}
		return []Finished{r.end(id, outcomes[e.Action], e.Elapsed, "")}
	}
	return nil
}

// Close ends what the stream left open, as after a kill, and reports whether
// anything failed.
func (r *Run) Close() (ended []Finished, failed bool) {
	for _, id := range r.sortedOpen("") {
		ended = append(ended, r.end(id, Failed, 0, "(the run ended before this did)\n"))
	}
	return ended, len(r.failed) > 0
}

// Open lists the tests that run now.
func (r *Run) Open() []ID {
	return slices.DeleteFunc(r.sortedOpen(""), func(id ID) bool { return id.Test == "" })
}

func (r *Run) end(id ID, outcome Outcome, seconds float64, note string) Finished {
	delete(r.open, id)
	f := Finished{ID: id, Outcome: outcome, Seconds: seconds}
	if out := r.output[id]; out != nil && outcome != Passed {
		f.Output = out.String()
	}
	delete(r.output, id)
	f.Output += note
	if outcome == Failed {
		r.failed[id.Package] = true
	}
	r.into.Set(id, outcome, f.Output)
	return f
}

// endPackage counts a package only where it failed and none of its tests did:
// a build, a TestMain, a data race or a leak after the last test.
func (r *Run) endPackage(e Event) []Finished {
	var ended []Finished
	for _, id := range r.sortedOpen(e.Package) {
		if id.Test != "" {
			ended = append(ended, r.end(id, Failed, 0, "(its package ended before it did)\n"))
		}
	}
	pkg := ID{Package: e.Package}
	f := Finished{ID: pkg, Outcome: outcomes[e.Action], Seconds: e.Elapsed}
	if f.Outcome == Failed {
		if build := r.builds[e.FailedBuild]; build != nil {
			f.Output = build.String()
		}
		if out := r.output[pkg]; out != nil {
			f.Output += out.String()
		}
		if !r.failed[e.Package] {
			r.into.Set(pkg, Failed, f.Output)
		}
		r.failed[e.Package] = true
	}
	delete(r.open, pkg)
	delete(r.output, pkg)
	return append(ended, f)
}

// sortedOpen lists what is open in pkg, or everywhere; subtests before their parents.
func (r *Run) sortedOpen(pkg string) []ID {
	var ids []ID
	for id := range r.open {
		if pkg == "" || id.Package == pkg {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b ID) int { return strings.Compare(b.String(), a.String()) })
	return ids
}

func write[K comparable](to map[K]*strings.Builder, key K, text string) {
	if to[key] == nil {
		to[key] = &strings.Builder{}
	}
	to[key].WriteString(text)
}
