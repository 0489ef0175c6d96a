package main

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/tools/internal/overlay"
	"github.com/sandbar-io/sandbar/tools/internal/repo"
)

func root(t *testing.T) string {
	t.Helper()
	dir, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Each bug still fits the source, and the tests that must catch it are there.
func TestBugsFit(t *testing.T) {
	t.Parallel()
	dir := root(t)
	names := map[string]bool{}
	for _, b := range bugs {
		if names[b.name] {
			t.Errorf("%s stands there twice", b.name)
		}
		names[b.name] = true
		if _, err := overlay.Write(dir, t.TempDir(), b.changes); err != nil {
			t.Errorf("%s: %v", b.name, err)
		}
		if len(b.caught) == 0 {
			t.Errorf("%s: nothing is to catch it", b.name)
		}
		for _, c := range b.caught {
			checkTests(t, dir, b.name, c)
		}
	}
}

func checkTests(t *testing.T, dir, name string, c catch) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, c.module, c.pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var text []byte
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, raw...)
	}
	for _, test := range c.tests {
		if !bytes.Contains(text, []byte("\nfunc "+test+"(t *testing.T)")) {
			t.Errorf("%s: there is no %s in %s/%s", name, test, c.module, c.pkg)
		}
	}
	for _, promise := range c.broken {
		if !bytes.Contains(promises(t, dir), []byte(`= "`+promise+`"`)) {
			t.Errorf("%s: random faults know no promise %q", name, promise)
		}
	}
	if _, known := grounds()[c.layer]; !known {
		t.Errorf("%s: there is no layer %q", name, c.layer)
	}
}

// promises is the source that names what random faults judge.
func promises(t *testing.T, dir string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "tools", "robustness", "internal", "check", "check.go"))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// All bugs at once still compile.
func TestBugsCompile(t *testing.T) {
	t.Parallel()
	dir := root(t)
	var all []overlay.Change
	for _, b := range bugs {
		all = append(all, b.changes...)
	}
	path, err := overlay.Write(dir, t.TempDir(), all)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"build", "-overlay", path, "-o", os.DevNull}
	for _, module := range []string{shared, gateway, provisioner, watcher, router} {
		args = append(args, "./"+module+"/...")
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// What docs/testing.md says of them is the table.
func TestDocsListTheBugs(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join(root(t), "docs", "testing.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(raw), table(bugs)) {
		t.Error("the table in docs/testing.md is not what `go run ./mutants -list` prints")
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	all := []bug{
		{name: "one", caught: []catch{{layer: "unit"}, {layer: "apiserver"}, {layer: "random"}}},
		{name: "two", caught: []catch{{layer: "apiserver"}}},
	}
	for _, tt := range []struct {
		pattern, layers string
		want            []string
	}{
		{"", "", []string{"one unit apiserver", "two apiserver"}},
		{"", "unit", []string{"one unit"}},
		{"^t", "unit,apiserver", []string{"two apiserver"}},
		{"three", "", nil},
		{"", "random", []string{"one random"}},
	} {
		var got []string
		for _, b := range choose(all, regexp.MustCompile(tt.pattern), tt.layers) {
			line := b.name
			for _, c := range b.caught {
				line += " " + c.layer
			}
			got = append(got, line)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%q of %q: %q, want %q", tt.pattern, tt.layers, got, tt.want)
		}
	}
}

// What random faults find broken is read off the end of their report.
func TestBrokenPromises(t *testing.T) {
	t.Parallel()
	o, _ := read([]byte(`{"Action":"output","Test":"TestRandomFaults","Output":"        VIOLATION of \"one\": 3 violations of \"none\"\n"}
{"Action":"output","Test":"TestRandomFaults","Output":"        12 violations of \"two\"\n"}
{"Action":"output","Test":"TestRandomFaults","Output":"    run_test.go:60: 12 violations; SEED=1 repeats the plan\n"}
`))
	if got := o.broken(); !maps.Equal(got, map[string]string{"two": "12"}) {
		t.Errorf("%v", got)
	}
	for promises, wrong := range map[string]bool{"": false, "two": false, "one,two": false, "one": true} {
		if err := o.breaks(strings.FieldsFunc(promises, func(r rune) bool { return r == ',' })); (err != nil) != wrong {
			t.Errorf("%q: %v", promises, err)
		}
	}
}

// Only an assertion that fails counts.
func TestWhatCounts(t *testing.T) {
	t.Parallel()
	const fails = `{"Action":"output","Test":"TestX/a","Output":"    x_test.go:7: it is 2, want 1\n"}
{"Action":"fail","Test":"TestX/a"}
{"Action":"fail","Test":"TestX"}
`
	for name, tt := range map[string]struct {
		out    string
		built  bool
		caught string // what is wrong
		says   string
	}{
		"an assertion":         {fails, true, "", "x_test.go:7: it is 2, want 1"},
		"it passes":            {`{"Action":"pass","Test":"TestX"}`, true, "passes", "nothing"},
		"it does not compile":  {`{"Action":"build-fail"}`, false, "did not run", "nothing"},
		"nor does its package": {`{"Action":"fail","FailedBuild":"p"}`, false, "did not run", "nothing"},
		"it hangs":             {fails + `{"Action":"output","Test":"TestY","Output":"panic: test timed out after 3m\n"}`, true, "hang", "x_test.go:7: it is 2, want 1"},
		"only its subtest":     {`{"Action":"fail","Test":"TestX/a"}`, true, "did not run", "nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, built := read([]byte(tt.out))
			err := o.caught("TestX")
			if built != tt.built || (err == nil) != (tt.caught == "") || err != nil && !strings.Contains(err.Error(), tt.caught) || o.says("TestX") != tt.says {
				t.Errorf("built %t, %v, %q", built, err, o.says("TestX"))
			}
		})
	}
}
