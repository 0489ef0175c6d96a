package observer_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
	"github.com/sandbar-io/sandbar/services/watcher/internal/observer"
	"github.com/sandbar-io/sandbar/services/watcher/internal/testbed"
)

// run runs an observer for the rest of the test.
func (b *bench) run(o *observer.Observer) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { o.Run(ctx) })
	b.t.Cleanup(func() { cancel(); wg.Wait() })
}

// flaky is a Views whose writes fail at first.
type flaky struct {
	observer.Views
	left    atomic.Int64
	at      sync.Map // key → whether a worker is there
	doubled atomic.Bool
}

func (f *flaky) Put(ctx context.Context, key string, src views.Source, now time.Time) (views.Present, error) {
	if _, busy := f.at.LoadOrStore(key, true); busy {
		f.doubled.Store(true)
	}
	defer f.at.Delete(key)
	if f.left.Add(-1) >= 0 {
		return views.Present{}, errors.New("NATS is away")
	}
	return f.Views.Put(ctx, key, src, now)
}

func TestAPassEndsWhenAllIsWritten(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	f := &flaky{Views: b.store}
	f.left.Store(60)
	o := b.observer(f)
	b.run(o)
	var keys []string
	for i := range 100 {
		r := b.born(fmt.Sprint("s", i))
		b.world.Set(r, 10, testbed.ReadyPod(r, 10))
		keys = append(keys, testbed.Key(r))
	}
	gone := testbed.Key(testbed.Record("gone", time.Now()))
	created := b.created()
	for range 3 { // what changes meanwhile must not disturb
		for _, key := range keys {
			o.Enqueue(key)
		}
	}
	if err := o.Pass(t.Context(), created, append(keys, gone)); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if v := b.view(key); v == nil || v.Status != sandbox.StatusRunning {
			t.Fatalf("%s after the pass: %+v", key, v)
		}
	}
	if f.doubled.Load() {
		t.Error("two workers had one key")
	}
	if err := o.Pass(t.Context(), created, nil); err != nil {
		t.Errorf("a pass over nothing: %v", err)
	}
}

func TestAPassOverAnotherBucketDoesNotEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run(b.o)
	r := b.born("s")
	b.world.Set(r, 10)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.o.Pass(ctx, b.created().Add(-time.Hour), []string{testbed.Key(r)}) }()
	testbed.Eventually(t, "the view is written", func() bool { return b.view(testbed.Key(r)) != nil })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the pass over a bucket that is gone ended with %v", err)
	}
}

func (b *bench) created() time.Time {
	b.t.Helper()
	p, err := b.store.Read(b.t.Context(), "acme.nothing")
	if err != nil {
		b.t.Fatal(err)
	}
	return p.Created
}

func TestTheQueueLooksAgainInTime(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run(b.o)
	r := b.born("s")
	b.world.Set(r, 10)
	b.clock.at = time.Now().Add(-settleTime) // what is 3 s away is due soon
	b.o.EnqueueAll([]string{testbed.Key(r)}, 0)
	testbed.Eventually(t, "the view is written", func() bool { return b.view(testbed.Key(r)) != nil })
}

const settleTime = 3 * time.Second

// A record that was made just now is its provisioner's to show; where that does not
// come, the watcher does.
func TestANewRecordIsLeftToItsProvisioner(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.o = b.observerWith(func(c *observer.Config) { c.FirstShown = time.Second })
	r := testbed.Record("s", b.clock.now())
	key := testbed.Key(r)
	b.world.Set(r, 10)
	if again := b.look(key); !again.Equal(b.clock.now().Add(time.Second)) || b.view(key) != nil {
		t.Errorf("looked at again in %v, %+v is shown", again.Sub(b.clock.now()), b.view(key))
	}
	b.clock.at = b.clock.at.Add(time.Second)
	b.look(key)
	if v := b.view(key); v == nil || v.Status != sandbox.StatusStarting {
		t.Errorf("%+v is shown", v)
	}
}
