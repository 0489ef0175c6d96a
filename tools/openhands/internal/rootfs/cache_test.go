package rootfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func newCache(t *testing.T) Cache {
	t.Helper()
	return Cache{Dir: t.TempDir(), Log: t.Logf}
}

func TestEnsureBuildsOnce(t *testing.T) {
	t.Parallel()
	c := newCache(t)
	var mu sync.Mutex
	builds := 0
	build := func(_ context.Context, dir string) error {
		mu.Lock()
		defer mu.Unlock()
		builds++
		return os.WriteFile(filepath.Join(dir, "file"), []byte("whole"), 0o644)
	}
	paths := make([]string, 4)
	var all sync.WaitGroup
	for i := range paths {
		all.Go(func() {
			var err error
			if paths[i], err = c.ensure(t.Context(), "thing", "k1", build); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if builds != 1 || len(slices.Compact(paths)) != 1 {
		t.Errorf("%d builds, folders %q", builds, paths)
	}
	if raw, err := os.ReadFile(filepath.Join(paths[0], "file")); err != nil || string(raw) != "whole" {
		t.Errorf("file %q, %v", raw, err)
	}
	other, err := c.ensure(t.Context(), "thing", "k2", build)
	if err != nil || other == paths[0] || builds != 2 {
		t.Errorf("other inputs: %s, %v after %d builds", other, err, builds)
	}
}

func TestAFailedBuildLeavesNothing(t *testing.T) {
	t.Parallel()
	c := newCache(t)
	broken := errors.New("no mirror")
	_, err := c.ensure(t.Context(), "thing", "k", func(_ context.Context, dir string) error {
		return errors.Join(os.WriteFile(filepath.Join(dir, "half"), nil, 0o644), broken)
	})
	if !errors.Is(err, broken) {
		t.Fatalf("error %v", err)
	}
	// What a killed build has left does not reach the next one.
	if err := os.MkdirAll(filepath.Join(c.Dir, ".new-thing", "half"), 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := c.ensure(t.Context(), "thing", "k", func(context.Context, string) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left over: %v, %v", entries, err)
	}
}

func TestAWaitingBuilderCanBeInterrupted(t *testing.T) {
	t.Parallel()
	c := newCache(t)
	unlock, err := c.lock(t.Context(), "thing")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.ensure(ctx, "thing", "k", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestKeyOf(t *testing.T) {
	t.Parallel()
	if keyOf("ab", "c") == keyOf("a", "bc") || keyOf("a") == keyOf("b") {
		t.Error("different inputs have one key")
	}
}

func TestEverySetIsLocked(t *testing.T) {
	t.Parallel()
	if !slices.Contains(Sets(), "sdk") {
		t.Errorf("sets %q", Sets())
	}
	for _, set := range Sets() {
		locked, err := requirements.ReadFile("requirements/" + set + ".lock")
		if err != nil {
			t.Fatal(err)
		}
		wanted, err := requirements.ReadFile("requirements/" + set + ".in")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(locked)) {
			if name, hash, ok := strings.Cut(strings.TrimSpace(line), " --hash=sha256:"); !ok || !strings.Contains(name, "==") || len(hash) < 64 {
				t.Errorf("%s.lock: %q is not NAME==VERSION with its hash", set, line)
			}
		}
		w, l := split(string(wanted)), split(string(locked))
		for _, name := range w.without {
			if strings.Contains("\n"+string(locked), "\n"+name+"==") {
				t.Errorf("%s is to be left out, and is in %s.lock", name, set)
			}
		}
		if strings.Count(w.older, "\n") != strings.Count(l.older, "\n") {
			t.Errorf("%s.in wants %q for an older Python, the lock %q", set, w.older, l.older)
		}
		for line := range strings.Lines(w.wheels + w.sources + w.older) {
			if pin := strings.TrimSpace(line); strings.Contains(pin, "==") && !strings.Contains("\n"+string(locked), "\n"+normal(pin)+" ") {
				t.Errorf("%s.lock is older than %s.in: it has no %s", set, set, normal(pin))
			}
		}
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	got := split("a==1 --hash=x\nb==2 --hash=y  # source\nc==3\nd==4 --hash=z  # python 3.12\n!e\n")
	if got.wheels != "a==1 --hash=x\nc==3\n" || got.sources != "b==2 --hash=y\n" || got.older != "d==4 --hash=z\n" ||
		!slices.Equal(got.without, []string{"e"}) {
		t.Errorf("parts %+v", got)
	}
}

func TestReadReport(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "report.json")
	report := `{"install": [{"metadata": {"name": "Py_Thing.x", "version": "1.2"},
		"download_info": {"url": "…", "archive_info": {"hashes": {"sha256": "abc"}}}}]}`
	if err := os.WriteFile(path, []byte(report), 0o644); err != nil {
		t.Fatal(err)
	}
	lines, err := readReport(path)
	if err != nil || !slices.Equal(lines, []string{"py-thing-x==1.2 --hash=sha256:abc"}) {
		t.Errorf("lines %q, %v", lines, err)
	}
}

func TestASetThatIsNotThere(t *testing.T) {
	t.Parallel()
	_, err := newCache(t).Packages(t.Context(), "nope")
	if err == nil || !strings.Contains(err.Error(), "sdk") {
		t.Errorf("error %v, want the sets that there are", fmt.Sprint(err))
	}
}
