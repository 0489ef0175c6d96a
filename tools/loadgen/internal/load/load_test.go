package load_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sandbar-io/sandbar/tools/loadgen/internal/load"
)

// One answer hangs. Of the questions that were due meanwhile each one counts: a
// closed loop would show a single slow one.
func TestOpenLoopCountsTheWaiting(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{}, 1)
	gate <- struct{}{}
	r := load.Open(t.Context(), 200, time.Second, func(_ context.Context, n int) error {
		<-gate // a server that works on one at a time
		defer func() { gate <- struct{}{} }()
		if n == 20 {
			<-time.After(200 * time.Millisecond)
		}
		return nil
	})
	if r.Done() != 200 || r.Failed != 0 {
		t.Fatalf("%d done, %d failed", r.Done(), r.Failed)
	}
	waited := 0
	for _, b := range r.Latency.Distribution() {
		if b.From > int64(50*time.Millisecond) {
			waited += int(b.Count)
		}
	}
	// In the stall 40 were due; those of its first 0.15 s waited longer than 50 ms.
	if waited < 25 {
		t.Errorf("%d questions waited longer than 50 ms, want 30", waited)
	}
}

func TestOpenLoopKeepsItsRateWithoutAnswers(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var asked atomic.Int64
	failure := errors.New("no answer")
	r := load.Open(ctx, 100, 500*time.Millisecond, func(ctx context.Context, _ int) error {
		if asked.Add(1) == 50 {
			cancel() // the last one ends the waiting of all
		}
		<-ctx.Done()
		return failure
	})
	if asked.Load() != 50 || r.Failed != 50 || !errors.Is(r.Failure, failure) || r.Done() != 0 {
		t.Errorf("%d asked, %d failed: %v", asked.Load(), r.Failed, r.Failure)
	}
}

func TestClosedLoopRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := load.Closed(t.Context(), 4, time.Second, func(context.Context, int, int) error {
			<-time.After(10 * time.Millisecond)
			return nil
		})
		if r.Done() != 400 || r.Rate() != 400 {
			t.Errorf("%d done, %.1f/s", r.Done(), r.Rate())
		}
	})
}

func TestEachAsksForAll(t *testing.T) {
	t.Parallel()
	var seen [100]atomic.Int64
	r := load.Each(t.Context(), 7, len(seen), func(_ context.Context, n int) error {
		seen[n].Add(1)
		return nil
	})
	for i := range seen {
		if seen[i].Load() != 1 {
			t.Errorf("%d was asked %d times", i, seen[i].Load())
		}
	}
	if r.Done() != len(seen) {
		t.Errorf("%d done", r.Done())
	}
}
