//go:build system

package system_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// TestSubscriberPrintsEvents: the example subscriber, a process with the NATS user
// that may do nothing else, prints one sandbox's life: in order, each event once.
func TestSubscriberPrintsEvents(t *testing.T) {
	t.Parallel()
	r := newRig(t, "events", stack.Options{})
	program := filepath.Join(t.TempDir(), "events")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./events")
	build.Dir = filepath.Join(bed.root, "tools")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build tools/events: %v\n%s", err, out)
	}
	printed, end := r.subscribe(t, program)
	rt := r.paused(t, "told")
	if _, err := r.api(0).Resume(t.Context(), rt.RuntimeID); err != nil {
		t.Fatal(err)
	}
	waitStatus(t, r.api(0), "told", "running")
	if err := r.api(0).Stop(t.Context(), rt.RuntimeID); err != nil {
		t.Fatal(err)
	}
	want := append(slices.Clone(wholeLife), "stopped")
	waitFor(t, "the subscriber prints the whole life", func(context.Context) (string, bool) {
		got := printed(t, rt.RuntimeID)
		return fmt.Sprintf("%q", got), len(got) >= len(want)
	})
	end()
	if got := printed(t, rt.RuntimeID); !slices.Equal(got, want) {
		t.Errorf("printed %q, want %q", got, want)
	}
}

// subscribe runs the subscriber. printed are the types of a sandbox's events so
// far; end stops it and waits.
func (r *rig) subscribe(t *testing.T, program string) (printed func(*testing.T, string) []string, end func()) {
	t.Helper()
	var mu sync.Mutex
	var lines []string
	cmd := exec.Command(program)
	cmd.Env = []string{"NATS_URL=" + r.NATSURL, "NATS_USER=subscriber", "NATS_PASSWORD=" + r.Secrets.NATS["subscriber"]}
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for in := bufio.NewScanner(out); in.Scan(); {
			mu.Lock()
			lines = append(lines, in.Text())
			mu.Unlock()
		}
	}()
	end = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		<-read
		if err := cmd.Wait(); err != nil {
			t.Errorf("the subscriber: %v\n%s", err, problems.String())
		}
	})
	t.Cleanup(end)
	return func(t *testing.T, id string) (types []string) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		for _, line := range lines {
			types = append(types, parseEvent(t, line, id, len(types)+1)...)
		}
		return types
	}, end
}

// parseEvent reads a line: time, type, subject, id, data. It is the n-th of the
// sandbox, or of another.
func parseEvent(t *testing.T, line, id string, n int) []string {
	t.Helper()
	fields := strings.SplitN(line, " ", 5)
	if len(fields) != 5 {
		t.Fatalf("the subscriber printed %q", line)
	}
	var data contract.EventData
	if err := json.Unmarshal([]byte(fields[4]), &data); err != nil {
		t.Fatalf("the subscriber printed %q: %v", line, err)
	}
	if data.RuntimeID != id {
		return nil
	}
	typ := strings.TrimPrefix(fields[1], contract.EventTypePrefix)
	if want := fmt.Sprintf("%s/%d", id, n); fields[3] != want || fields[2] != id || string(data.Type) != typ {
		t.Errorf("printed %q, want the id %s", line, want)
	}
	return []string{typ}
}
