package logs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/watcher/internal/logs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, read logs.Read, ready func(string)) *logs.Tails {
	t.Helper()
	tails := logs.New(read, zap.NewNop())
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { tails.Run(ctx, ready) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return tails
}

func pod(c sandbox.Container) *sandbox.Pod {
	return &sandbox.Pod{Name: "p-1", UID: "u", Container: c}
}

func TestWhichRunIsRead(t *testing.T) {
	t.Parallel()
	var reads atomic.Int64
	tails := start(t, func(_ context.Context, name string, previous bool) (string, error) {
		return fmt.Sprint(name, previous, reads.Add(1)), nil
	}, func(string) {})
	ended := &sandbox.Termination{Reason: "Error"}
	for _, c := range []struct {
		name string
		c    sandbox.Container
		want string
	}{
		{"never ran", sandbox.Container{WaitingReason: "ErrImagePull"}, ""},
		{"ended", sandbox.Container{Terminated: ended}, "p-1false 1"},
		{"ended, again", sandbox.Container{Terminated: ended}, "p-1false 1"},
		{"waits for its next run", sandbox.Container{WaitingReason: "CrashLoopBackOff", LastTerminated: ended}, "p-1false 1"},
		{"runs again: the same run's log", sandbox.Container{Running: true, LastTerminated: ended, RestartCount: 1}, "p-1false 1"},
		{"ended again", sandbox.Container{Terminated: ended, LastTerminated: ended, RestartCount: 1}, "p-1false 2"},
		{"runs a third time", sandbox.Container{Running: true, LastTerminated: ended, RestartCount: 3}, "p-1true 3"},
	} {
		if got, known := tails.Tail(t.Context(), "k", pod(c.c)); got != c.want || !known {
			t.Errorf("%s: %q, %v; want %q", c.name, got, known, c.want)
		}
	}
}

func TestASlowLogIsToldOfLater(t *testing.T) {
	t.Parallel()
	release, told := make(chan struct{}), make(chan string, 1)
	tails := start(t, func(ctx context.Context, _ string, _ bool) (string, error) {
		select {
		case <-release:
			return "late", nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}, func(key string) { told <- key })
	p := pod(sandbox.Container{Terminated: &sandbox.Termination{}})
	if got, known := tails.Tail(t.Context(), "k", p); known {
		t.Errorf("known already: %q", got)
	}
	close(release)
	if key := <-told; key != "k" {
		t.Errorf("told of %q", key)
	}
	if got, known := tails.Tail(t.Context(), "k", p); got != "late" || !known {
		t.Errorf("%q, %v", got, known)
	}
}

func TestFailuresAndAbsence(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		err   error
		known bool
	}{
		{"the kubelet is away", errors.New("dial"), false},
		{"there is no such log", apierrors.NewBadRequest("previous terminated container not found"), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var reads atomic.Int64
			tails := start(t, func(context.Context, string, bool) (string, error) { reads.Add(1); return "", c.err }, func(string) {})
			for range 3 {
				if _, known := tails.Tail(t.Context(), "k", pod(sandbox.Container{Terminated: &sandbox.Termination{}})); known != c.known {
					t.Errorf("known: %v", known)
				}
			}
			if reads.Load() != 1 {
				t.Errorf("read %d times in a row", reads.Load())
			}
		})
	}
}

func TestLast(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789abcde\n", 2000)
	for _, c := range []struct {
		name, in, want string
	}{
		{"empty", "", ""},
		{"short", "one\ntwo\n", "one\ntwo\n"},
		{"long", "x" + long + "end", long[len(long)-logs.MaxBytes+16:][:logs.MaxBytes-16] + "end"},
		{"no line end", strings.Repeat("x", 3*logs.MaxBytes), strings.Repeat("x", logs.MaxBytes)},
		{"not UTF-8", "a\xffb", "ab"},
	} {
		got, err := logs.Last(strings.NewReader(c.in))
		if err != nil || got != c.want || len(got) > logs.MaxBytes {
			t.Errorf("%s: %d bytes ending in %q, want %d ending in %q (%v)", c.name, len(got), tail(got), len(c.want), tail(c.want), err)
		}
	}
}

func tail(s string) string { return s[max(0, len(s)-20):] }
