package checks_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/tools/checks"
)

// repository writes files and loads them.
func repository(t *testing.T, files map[string]string) []checks.Module {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	modules, _, err := checks.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return modules
}

const (
	work = "go 1.26.0\nuse ./pkg\nuse ./services/a\n"
	pkg  = "module github.com/sandbar-io/sandbar/pkg\ngo 1.26.0\nrequire example.test/x v1.2.0\n"
	a    = "module github.com/sandbar-io/sandbar/services/a\ngo 1.26.0\n"
)

func TestModuleFiles(t *testing.T) {
	t.Parallel()
	ours := "require github.com/sandbar-io/sandbar/pkg v0.0.0\n"
	good := "replace github.com/sandbar-io/sandbar/pkg => ../../pkg\n"
	tests := map[string]struct {
		files map[string]string
		want  string // in the only problem; none where empty
	}{
		"good":                  {map[string]string{"services/a/go.mod": a + ours + good + "require example.test/x v1.2.0\n"}, ""},
		"two versions":          {map[string]string{"services/a/go.mod": a + "require example.test/x v1.3.0 // indirect\n"}, "example.test/x has more than one version: v1.2.0 in pkg; v1.3.0 in services/a"},
		"no replace":            {map[string]string{"services/a/go.mod": a + ours}, "services/a/go.mod: github.com/sandbar-io/sandbar/pkg wants a relative replace"},
		"replace not relative":  {map[string]string{"services/a/go.mod": a + ours + "replace github.com/sandbar-io/sandbar/pkg => example.test/fork v1.0.0\n"}, "wants a relative replace"},
		"replace leads astray":  {map[string]string{"services/a/go.mod": a + ours + "replace github.com/sandbar-io/sandbar/pkg => ../pkg\n"}, "leads to services/pkg"},
		"a version of ours":     {map[string]string{"services/a/go.mod": a + strings.Replace(ours, "v0.0.0", "v1.0.0", 1) + good}, "require github.com/sandbar-io/sandbar/pkg v0.0.0, not v1.0.0"},
		"wrapper in the work":   {map[string]string{"go.work": work + "use ./tools/x/build/k\n", "services/a/go.mod": a, "tools/x/build/k/go.mod": "module github.com/sandbar-io/sandbar/k\ngo 1.26.0\n"}, "tools/x/build/k is in go.work"},
		"module not in go.work": {map[string]string{"services/a/go.mod": a, "tools/go.mod": "module github.com/sandbar-io/sandbar/tools\ngo 1.26.0\n"}, "tools is missing in go.work"},
		"wrapper has versions of its own": {map[string]string{
			"services/a/go.mod": a, "tools/x/build/k/go.mod": "module github.com/sandbar-io/sandbar/k\ngo 1.25.0\nrequire example.test/x v1.9.9\n",
		}, ""},
		"another go version": {map[string]string{"services/a/go.mod": strings.Replace(a, "1.26.0", "1.25.0", 1)}, "services/a/go.mod: its go line"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := map[string]string{"go.work": work, "pkg/go.mod": pkg}
			for name, text := range tt.files {
				files[name] = text
			}
			modules := repository(t, files)
			got := slices.Concat(checks.Versions(modules), checks.GoVersions(modules, "1.26.0"), checks.Replaces(modules), checks.Workspace(modules))
			expect(t, got, tt.want)
		})
	}
}

func expect(t *testing.T, got []string, want string) {
	t.Helper()
	switch {
	case want == "" && len(got) > 0:
		t.Errorf("problems: %q", got)
	case want != "" && (len(got) != 1 || !strings.Contains(got[0], want)):
		t.Errorf("problems: %q, want one with %q", got, want)
	}
}

func TestSource(t *testing.T) {
	t.Parallel()
	const body = "package p\n\nimport (\n\"testing\"\n\"time\"\n\"testing/synctest\"\n)\n\nfunc TestX(t *testing.T) {\n"
	tests := map[string]struct{ file, text, want string }{
		"good":                       {"p/start_test.go", body + "t.Log(time.Now())\n}", ""},
		"skip":                       {"p/start_test.go", body + "t.Skip()\n}", "p/start_test.go:10: a test that skips itself"},
		"skip with words":            {"p/start_test.go", body + "t.Skipf(\"x\")\n}", "skips itself"},
		"skip in a subtest":          {"p/start_test.go", body + "t.Run(\"x\", func(t *testing.T) { t.SkipNow() })\n}", "skips itself"},
		"another's Skip":             {"p/start_test.go", body + "decoder.Skip()\n}", ""},
		"sleep":                      {"p/start_test.go", body + "time.Sleep(1)\n}", "time.Sleep synchronises by luck"},
		"sleep in a bubble":          {"p/start_test.go", body + "synctest.Test(t, func(t *testing.T) { func() { time.Sleep(1) }() })\n}", ""},
		"skip in a bubble":           {"p/start_test.go", body + "synctest.Test(t, func(t *testing.T) { t.Skip() })\n}", "skips itself"},
		"sleep beside a bubble":      {"p/start_test.go", body + "synctest.Test(t, nil)\ntime.Sleep(1)\n}", "time.Sleep synchronises by luck"},
		"sleep outside tests":        {"p/start.go", body + "time.Sleep(1)\n}", ""},
		"vague file":                 {"p/utils.go", "package p", "p/utils.go: a file is named after"},
		"vague test file":            {"p/helpers_test.go", "package p_test", "a file is named after"},
		"vague package":              {"p/start.go", "package common", "package common"},
		"vague package, its test":    {"p/start_test.go", "package util_test", "package util"},
		"generated without mark":     {"p/verb_string.go", "package p", "wants the line"},
		"generated with mark":        {"p/verb_string.go", "// Code generated by \"stringer\"; DO NOT EDIT.\n\npackage p", ""},
		"zz without mark":            {"p/zz_deepcopy.go", "package p", "zz_ is for generated files"},
		"what is no Go is a problem": {"p/start.go", "pakage p", "expected 'package'"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expect(t, checks.Source(tt.file, tt.text), tt.want)
		})
	}
}

func TestGraph(t *testing.T) {
	t.Parallel()
	graph := checks.Graph{}
	for from, imports := range map[string]string{
		checks.Ours + "s/cmd": checks.Ours + "s fmt",
		checks.Ours + "s":     checks.Ours + "p k8s.io/api fmt",
		checks.Ours + "p":     "fmt",
		"k8s.io/api":          "k8s.io/apimachinery",
		"k8s.io/apimachinery": "",
		"fmt":                 "",
	} {
		graph[from] = checks.Package{ImportPath: from, Imports: strings.Fields(imports), Standard: from == "fmt"}
	}
	tests := map[string]struct {
		from  string
		never func(checks.Package) bool
		want  string
	}{
		"direct":                  {"s", checks.Under("k8s.io/"), "s → k8s.io/api: because"},
		"shortest way":            {"s/cmd", checks.Under("k8s.io/"), "s/cmd → s → k8s.io/api: because"},
		"not reached":             {"p", checks.Under("k8s.io/"), ""},
		"a name that only begins": {"s", checks.Under("k8s.io/ap/"), ""},
		"prefix itself":           {"s", checks.Under(checks.Ours + "p/"), "s → p: because"},
		"standard library only":   {"p", func(p checks.Package) bool { return !p.Standard }, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expect(t, graph.Check(checks.Arrow{From: []string{checks.Ours + tt.from}, Never: tt.never, Reason: "because"}), tt.want)
		})
	}
	if got := graph.Check(checks.Arrow{From: []string{checks.Ours + "s/..."}, Never: checks.Under("k8s.io/")}); len(got) != 2 {
		t.Errorf("a tree of packages: %q", got)
	}
}
