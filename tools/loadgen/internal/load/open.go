package load

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxInFlight bounds what waits for its answer. What would be one more counts as
// failed: it is not asked later, which would hide it.
const maxInFlight = 20_000

// Open asks at fixed times, rate a second, whatever became of what was asked
// before. A latency counts from the time that was fixed, so that a question that
// had to wait behind a slow answer counts with its waiting.
func Open(ctx context.Context, rate float64, d time.Duration, ask func(ctx context.Context, n int) error) *Result {
	r := newResult()
	total := int(rate * d.Seconds())
	free := make(chan struct{}, maxInFlight)
	var wg sync.WaitGroup
	begin := time.Now()
	at := func(n int) time.Time { return begin.Add(time.Duration(float64(n) / rate * float64(time.Second))) }
	// Go's own timers wake up to a millisecond late where nothing else runs: more
	// than many an answer takes. The kernel's are within a tenth of that.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for n := range total {
		sleepUntil(at(n))
		if ctx.Err() != nil {
			break
		}
		select {
		case free <- struct{}{}:
		default:
			r.add(0, fmt.Errorf("%d questions wait for their answers", maxInFlight))
			continue
		}
		wg.Go(func() {
			defer func() { <-free }()
			r.late(time.Since(at(n)))
			err := ask(ctx, n)
			r.add(time.Since(at(n)), err)
		})
	}
	wg.Wait()
	r.Elapsed = time.Since(begin)
	return r
}

func (r *Result) late(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	Record(r.Late, d)
}

// sleepUntil returns at a time or right after it.
func sleepUntil(t time.Time) {
	for {
		left := time.Until(t)
		if left <= 0 {
			return
		}
		ts := unix.NsecToTimespec(int64(left))
		_ = unix.Nanosleep(&ts, nil) // one that a signal ends is slept again
	}
}
