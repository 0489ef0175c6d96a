// Package load asks at times that were fixed before, or as fast as it is answered,
// and keeps how long each answer took.
package load

import (
	"context"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The histogram's range and precision: from 1 µs to 2 minutes, three digits.
const (
	shortest = int64(time.Microsecond)
	longest  = int64(2 * time.Minute)
	digits   = 3
)

// Result is how a load was answered.
type Result struct {
	Latency *hdrhistogram.Histogram // of what succeeded, ns
	Late    *hdrhistogram.Histogram // of how late each was sent, ns; part of its latency
	Failed  int
	Failure error // the first
	Elapsed time.Duration

	mu sync.Mutex
}

func newResult() *Result {
	return &Result{Latency: NewHistogram(), Late: NewHistogram()}
}

// NewHistogram is an empty one of the range that all have.
func NewHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(shortest, longest, digits) }

func (r *Result) add(took time.Duration, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		if r.Failed++; r.Failure == nil {
			r.Failure = err
		}
		return
	}
	Record(r.Latency, took)
}

// Record adds a time; one beyond the range counts as the longest.
func Record(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(min(max(int64(d), shortest), longest)) // within the range
}

// Done is how many were answered well.
func (r *Result) Done() int { return int(r.Latency.TotalCount()) }

// Rate is how many were answered well in a second.
func (r *Result) Rate() float64 { return float64(r.Done()) / r.Elapsed.Seconds() }

// Closed asks from so many workers, each as soon as it is answered. It measures
// a rate; how long one waits says nothing here, because a slow answer keeps the
// next question from being asked.
func Closed(ctx context.Context, workers int, d time.Duration, ask func(ctx context.Context, worker, n int) error) *Result {
	r := newResult()
	begin := time.Now()
	end := begin.Add(d)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for n := 0; time.Now().Before(end) && ctx.Err() == nil; n++ {
				at := time.Now()
				err := ask(ctx, w, n)
				r.add(time.Since(at), err)
			}
		})
	}
	wg.Wait()
	r.Elapsed = time.Since(begin)
	return r
}

// Each asks n times from so many workers.
func Each(ctx context.Context, workers, n int, ask func(ctx context.Context, n int) error) *Result {
	r := newResult()
	begin := time.Now()
	next := make(chan int)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range next {
				at := time.Now()
				err := ask(ctx, i)
				r.add(time.Since(at), err)
			}
		})
	}
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	wg.Wait()
	r.Elapsed = time.Since(begin)
	return r
}
