package filewatch_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/filewatch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t *testing.T, path, body string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// mount does as the kubelet does: files are links by way of ..data, which is
// swapped.
func mount(t *testing.T, dir, version, name, body string) {
	t.Helper()
	write(t, filepath.Join(dir, "..v"+version, name), body)
	if err := os.Symlink("..v"+version, filepath.Join(dir, "..tmp")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name))
	if err != nil && !errors.Is(err, os.ErrExist) {
		t.Fatal(err)
	}
}

func bodies(files []filewatch.File) string {
	var out []string
	for _, f := range files {
		out = append(out, string(f.Body))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestNewReads(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "one"), "one")
	folder := filepath.Join(dir, "folder")
	write(t, filepath.Join(folder, "a"), "a")
	mount(t, filepath.Join(folder, "secret"), "1", ".hidden", "b")
	write(t, filepath.Join(folder, "secret", "too", "deep"), "c")
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		paths []string
		want  string
	}{
		"file": {[]string{file}, "one"}, "folder": {[]string{folder}, "a b"}, "both": {[]string{file, folder}, "a b one"}, "empty": {[]string{empty}, ""},
	} {
		got := "nothing"
		_, err := filewatch.New("SETTING", c.paths, func(f []filewatch.File) error { got = bodies(f); return nil }, zap.NewNop())
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	large := write(t, filepath.Join(dir, "large"), strings.Repeat("x", filewatch.MaxFile+1))
	many := filepath.Join(dir, "many")
	for i := range 65 {
		write(t, filepath.Join(many, strings.Repeat("x", i+1)), "")
	}
	small := write(t, filepath.Join(dir, "small"), "")
	unusable := errors.New("unusable")
	for name, c := range map[string]struct {
		path, want string
		err        error
	}{
		"absent": {filepath.Join(dir, "none"), "none", nil}, "large": {large, "at most", nil}, "many": {many, "65 files", nil},
		"not taken": {small, "SETTING", unusable},
	} {
		_, err := filewatch.New("SETTING", []string{c.path}, func([]filewatch.File) error { return c.err }, zap.NewNop())
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, c.err) && c.err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// run follows until the test ends and returns what is taken.
func run(t *testing.T, paths ...string) <-chan string {
	t.Helper()
	taken := make(chan string, 16)
	w, err := filewatch.New("SETTING", paths, func(f []filewatch.File) error { taken <- bodies(f); return nil }, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = w.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return taken
}

func expect(t *testing.T, taken <-chan string, want string) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case got := <-taken:
			if got == want {
				return
			}
		case <-deadline:
			t.Fatalf("%q was never taken", want)
		}
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "f", "file"), "1")
	mount(t, filepath.Join(dir, "secrets", "s"), "1", "config", "2")
	taken := run(t, file, filepath.Join(dir, "secrets"))
	expect(t, taken, "1 2")
	write(t, file, "3")
	expect(t, taken, "2 3")
	mount(t, filepath.Join(dir, "secrets", "s"), "2", "config", "4")
	expect(t, taken, "3 4")
	write(t, filepath.Join(dir, "secrets", "more"), "5")
	expect(t, taken, "3 4 5")
}

func TestRunOfNothing(t *testing.T) {
	t.Parallel()
	w, err := filewatch.New("SETTING", nil, func([]filewatch.File) error { return errors.New("taken") }, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v", err)
	}
}

func TestDecodeYAML(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		"name: a": "", `{"name": "a"}`: "", "": "", "other: a": "other", "name: [secret-value]": "unmarshal", "name: [": "yaml", "secret-value": "unmarshal",
	} {
		var into struct {
			Name string `yaml:"name"`
		}
		err := filewatch.DecodeYAML([]byte(body), &into)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", body, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret-value") {
			t.Errorf("%q: the error cites a value: %v", body, err)
		}
	}
}
