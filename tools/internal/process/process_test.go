package process_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sandbar-io/sandbar/tools/internal/process"
)

const soon = 10 * time.Second

func table(t *testing.T) process.Table {
	t.Helper()
	dir := t.TempDir()
	return process.Table{Pids: dir, Logs: dir, Mark: dir}
}

func start(t *testing.T, tab process.Table, c process.Command) *process.Process {
	t.Helper()
	p, err := tab.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		process.Kill([]process.Identity{p.Identity}, soon)
		<-p.Done()
	})
	return p
}

func sleeper(name string) process.Command {
	return process.Command{Name: name, Path: "/bin/sleep", Argv: []string{"600"}}
}

func TestStartedProcessIsFoundAndKilled(t *testing.T) {
	t.Parallel()
	tab := table(t)
	p := start(t, tab, sleeper("one"))

	found, err := tab.Find("one")
	if err != nil || found != p.Identity {
		t.Fatalf("Find: %v, %v; want %v", found, err, p.Identity)
	}
	if sid, err := unix.Getsid(p.Pid); err != nil || sid != p.Pid {
		t.Errorf("session %d, %v; want one of its own, or a terminal's signals reach it", sid, err)
	}
	if left := process.Kill([]process.Identity{found}, soon); len(left) > 0 {
		t.Fatalf("still there: %v", left)
	}
	<-p.Done()
	if _, err := tab.Find("one"); !errors.Is(err, process.ErrGone) {
		t.Errorf("Find after the end: %v, want ErrGone", err)
	}
}

// TestCommandIsHowItWasStarted: what a running process tells of itself is enough to
// start it anew.
func TestCommandIsHowItWasStarted(t *testing.T) {
	t.Parallel()
	tab := table(t)
	path, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	// Empty words, and such with what parts words elsewhere.
	c := process.Command{
		Path: path, Argv0: "called", Argv: []string{"-c", "sleep 600 & wait", "", "two words", "a=b\nc"},
		Env: []string{"EMPTY=", "WORD=a=b c"},
	}
	for _, name := range []string{"first", "again"} {
		c.Name = name
		p := start(t, tab, c)
		t.Cleanup(func() { process.Kill(tab.Marked(), soon) })
		waitFor(t, "its environment", func() bool { return slices.Contains(tab.Marked(), p.Identity) }) // it has none in the midst of exec
		got, err := p.Command()
		if got.Name = name; err != nil || !reflect.DeepEqual(got, c) {
			t.Fatalf("%+v, %v, want %+v", got, err, c)
		}
		c = got
	}
	if _, err := (process.Identity{Pid: os.Getpid()}).Command(); !errors.Is(err, process.ErrGone) {
		t.Errorf("of a process that is gone, whose pid is another's: %v, want ErrGone", err)
	}
}

func TestStrangerWithTheSamePidIsLeftAlone(t *testing.T) {
	t.Parallel()
	tab := table(t)
	p := start(t, tab, sleeper("stranger"))
	// A pid file from before: same pid, another start time.
	old := process.Identity{Pid: p.Pid, Start: p.Start - 1}
	if err := old.WriteFile(filepath.Join(tab.Pids, "old.pid")); err != nil {
		t.Fatal(err)
	}
	if _, err := tab.Find("old"); !errors.Is(err, process.ErrGone) {
		t.Errorf("Find: %v, want ErrGone", err)
	}
	if err := old.Signal(unix.SIGKILL); !errors.Is(err, process.ErrGone) {
		t.Errorf("Signal: %v, want ErrGone", err)
	}
	if !p.Alive() {
		t.Error("the stranger was killed")
	}
}

func TestMarkFindsChildrenWithoutPidFiles(t *testing.T) {
	t.Parallel()
	tab := table(t)
	// The shell's child carries the mark as well.
	p := start(t, tab, process.Command{Name: "parent", Path: "/bin/sh", Argv: []string{"-c", "sleep 600 & echo started; wait"}})
	waitFor(t, "the shell's child", func() bool {
		// In the midst of exec a process has no environment to be found by.
		return process.LastLine(p.Log) == "started" && len(tab.Marked()) == 2
	})
	if err := os.Remove(filepath.Join(tab.Pids, "parent.pid")); err != nil {
		t.Fatal(err)
	}
	found := tab.Marked()
	if len(found) != 2 {
		t.Fatalf("found %d processes, want the shell and its child", len(found))
	}
	if left := process.Kill(found, soon); len(left) > 0 {
		t.Errorf("still there: %v", left)
	}
	if again := tab.Marked(); len(again) > 0 {
		t.Errorf("found after the kill: %v", again)
	}
}

func TestFailureNamesLogAndLastLine(t *testing.T) {
	t.Parallel()
	tab := table(t)
	p, err := tab.Start(process.Command{Name: "bad", Path: "/bin/sh", Argv: []string{"-c", "echo first; echo the reason; exit 3"}})
	if err == nil { // else it ended before Start did
		<-p.Done()
		err = p.Failure()
	}
	message := err.Error()
	for _, want := range []string{"bad", "exit status 3", tab.LogPath("bad"), "the reason"} {
		if !strings.Contains(message, want) {
			t.Errorf("%q lacks %q", message, want)
		}
	}
}

func TestReadFileRefusesNonsense(t *testing.T) {
	t.Parallel()
	for _, content := range []string{"", "12", "x y", "1 5", "-4 5"} {
		path := filepath.Join(t.TempDir(), "x.pid")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if id, err := process.ReadFile(path); err == nil {
			t.Errorf("%q was read as %v", content, id)
		}
	}
}

func waitFor(t *testing.T, what string, there func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(soon); !there(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s never came", what)
		}
	}
}
