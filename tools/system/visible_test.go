//go:build system

package system_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

const (
	measured = 100
	// visibleWithin is what is promised of the gateways that did not answer.
	visibleWithin = 250 * time.Millisecond
)

// TestChangesAreVisible: what one gateway answered, it shows at once, and the
// other one within 250 ms; on neither does a view go back. It runs alone, as it
// measures.
func TestChangesAreVisible(t *testing.T) {
	r := newRig(t, "visible", stack.Options{Gateways: 2, Settings: []string{noPurge}})
	rt := r.running(t, "seen")
	r.waitDrained(t, r.bus(t, "provisioner"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var phase atomic.Int64
	watched := make(chan error, 2)
	for _, api := range r.apis() {
		go func() { watched <- neverBack(ctx, api, &phase) }()
	}
	var took []time.Duration
	var worst time.Duration
	stalls, skipped := countStalls(t), 0
	for i := range measured {
		before := stalls.Load()
		from := i / 2 % 2
		phase.Add(1)
		shown, stale, err := change(t.Context(), r.api(from), r.api(1-from), rt.RuntimeID, i%2 == 0)
		if err != nil {
			t.Fatalf("change %d: %v", i, err)
		}
		phase.Add(1)
		if took = append(took, shown); stale > visibleWithin && stalls.Load() > before {
			skipped++ // nothing went on for a while, here neither
			continue
		}
		worst = max(worst, stale)
	}
	if skipped > measured/4 {
		t.Errorf("in %d of %d changes the machine stood still: nothing was measured", skipped, measured)
	}
	cancel()
	for range r.apis() {
		if err := <-watched; err != nil {
			t.Error(err)
		}
	}
	slices.Sort(took)
	t.Logf("%d changes were visible on the other gateway after p50 %s, p99 %s, at most %s",
		measured, took[measured/2], took[measured*99/100], took[measured-1])
	if worst > visibleWithin {
		t.Errorf("the other gateway was asked %s after a change and did not show it, want at most %s", worst, visibleWithin)
	}
}

// countStalls counts, until the test's end, how often what takes ten milliseconds took
// fifty: then the machine had no time for us.
func countStalls(t *testing.T) *atomic.Int64 {
	t.Helper()
	const every, late = 10 * time.Millisecond, 50 * time.Millisecond
	var n atomic.Int64
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(done)
		tick := time.NewTimer(every)
		defer tick.Stop()
		for last := time.Now(); ; last = time.Now() {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if time.Since(last) > late {
				n.Add(1)
			}
			tick.Reset(every)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return &n
}

// change pauses what runs, or resumes what is paused, on one gateway, and
// measures when the other one shows it: when the first question was asked that it
// answered right, and when the last one that it answered with the state before.
func change(ctx context.Context, from, other client.API, id string, pause bool) (shown, stale time.Duration, err error) {
	call := from.Resume
	if pause {
		call = from.Pause
	}
	if _, err := call(ctx, id); err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	rt, err := from.Runtime(ctx, id)
	if err == nil && (rt.Status == "paused") != pause {
		err = fmt.Errorf("the gateway that answered shows %+v", rt)
	}
	if err != nil {
		return 0, 0, err
	}
	for {
		asked := time.Since(begin) // what the answer took is no delay of the view
		rt, err := other.Runtime(ctx, id)
		if err != nil {
			return 0, 0, err
		}
		if (rt.Status == "paused") == pause {
			return asked, stale, nil
		}
		if stale = asked; stale > 10*visibleWithin {
			return 0, 0, fmt.Errorf("the other gateway still shows %+v after %s", rt, asked)
		}
	}
}

// neverBack reads one sandbox on one gateway until ctx ends, while the test
// changes it. In phase 2k the k-th change is visible everywhere, in phase 2k+1 the
// next one is on its way. After an odd number of changes the sandbox is paused.
func neverBack(ctx context.Context, api client.API, phase *atomic.Int64) error {
	last, rank := int64(0), 0 // the newest state that was seen, and how far in it
	for ctx.Err() == nil {
		begin := phase.Load()
		rt, err := api.Session(context.WithoutCancel(ctx), "seen")
		if err != nil {
			return err
		}
		end := phase.Load()
		if begin != end {
			continue // two states may be meant
		}
		state := begin / 2
		if next := state + 1; begin%2 == 1 && (rt.Status == "paused") == (next%2 == 1) {
			state = next
		}
		if (rt.Status == "paused") != (state%2 == 1) || state < last {
			return fmt.Errorf("%s went back: state %d after %d changes: %+v", api.Base, last, state, rt)
		}
		now := slices.Index([]string{"starting", "running", "paused"}, rt.Status)
		if state > last {
			last, rank = state, 0
		}
		if now < rank {
			return fmt.Errorf("%s went back within state %d: %+v", api.Base, state, rt)
		}
		rank = now
	}
	return nil
}
