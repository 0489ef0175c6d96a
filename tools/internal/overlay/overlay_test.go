package overlay_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/tools/internal/overlay"
)

// project is a module with one program.
func project(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range map[string]string{
		"go.mod":  "module m\n\ngo 1.26\n",
		"main.go": "package main\n\nfunc main() { print(\"one\", \"two\", \"one\") }\n",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// The program is built with the changes, and its source stays.
func TestWrite(t *testing.T) {
	t.Parallel()
	root := project(t)
	before, err := os.ReadFile(filepath.Join(root, "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	path, err := overlay.Write(root, t.TempDir(), []overlay.Change{
		{File: "main.go", Old: `"two"`, New: `"three"`},
		{File: "main.go", Old: `"three", "one"`, New: `"four"`},
	})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "run", "-overlay", path, ".")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "onefour" {
		t.Errorf("it prints %q, %v", out, err)
	}
	if after, err := os.ReadFile(filepath.Join(root, "main.go")); err != nil || string(after) != string(before) {
		t.Errorf("the source is %q, %v", after, err)
	}
}

func TestWriteOverASourceThatMoved(t *testing.T) {
	t.Parallel()
	root := project(t)
	for name, tt := range map[string]struct {
		change overlay.Change
		want   string
	}{
		"the text is not there": {overlay.Change{File: "main.go", Old: `"five"`}, "0 times"},
		"it is there twice":     {overlay.Change{File: "main.go", Old: `"one"`}, "2 times"},
		"the file is not there": {overlay.Change{File: "other.go", Old: `"one"`}, "no such file"},
		"it is no Go any more":  {overlay.Change{File: "main.go", Old: `"two"`, New: `)`}, "no Go"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := overlay.Write(root, t.TempDir(), []overlay.Change{tt.change}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}
