package observer_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
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
	if err := o.Pass(t.Context(), created, append(keys, gone), nil); err != nil {
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
	if err := o.Pass(t.Context(), created, nil, nil); err != nil {
		t.Errorf("a pass over nothing: %v", err)
	}
}

// What an empty bucket lacks was listed later than it was seen to lack it: no record
// is asked for. What was written meanwhile stays.
func TestAPassOverAnEmptyBucketAsksForNoRecord(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	newer := b.born("newer")
	b.world.Set(newer, 10)
	b.look(testbed.Key(newer))
	behind := newer.Clone()
	behind.Generation--
	b.world.Set(behind, 9)
	keys := []string{testbed.Key(newer)}
	for i := range 20 {
		r := b.born(fmt.Sprint("s", i))
		b.world.Set(r, 10, testbed.ReadyPod(r, 10))
		keys = append(keys, testbed.Key(r))
	}
	b.world.Fail(errors.New("the API server is away"))
	o := b.observer(b.store)
	b.run(o)
	if err := o.Pass(t.Context(), b.created(), keys, nil); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys[1:] {
		if v := b.view(key); v == nil || v.Status != sandbox.StatusRunning {
			t.Fatalf("%s after the pass: %+v", key, v)
		}
	}
	if v := b.view(keys[0]); v.Generation != newer.Generation {
		t.Errorf("an older view took the place: %+v", v)
	}
}

// believing is a Views that notes what is put without being read.
type believing struct {
	observer.Views
	known []*views.Present
}

func (v *believing) Put(ctx context.Context, key string, src views.Source, now time.Time) (views.Present, error) {
	v.known = append(v.known, src.Known)
	return v.Views.Put(ctx, key, src, now)
}

// A key that was absent before the records were listed is put without being read, but
// not where this observer has seen a view under it since: were the bucket made anew
// meanwhile, that write would begin the sandbox' events a second time.
func TestAKeyThatWasSeenIsNotTakenForAbsent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	v := &believing{Views: b.store}
	b.o = b.observer(v)
	seen, fresh := b.born("seen"), b.born("fresh")
	b.world.Set(seen, 10)
	b.look(testbed.Key(seen))                             // reads
	b.o.Foreign(testbed.Key(seen), math.MaxUint64, false) // what stands there is not known any more
	ctx, end := context.WithCancel(t.Context())
	end()
	if err := b.o.Pass(ctx, b.created(), []string{testbed.Key(seen), testbed.Key(fresh)}, nil); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	b.world.Set(seen, 11, testbed.ReadyPod(seen, 11))
	b.world.Set(fresh, 11, testbed.ReadyPod(fresh, 11))
	b.look(testbed.Key(seen))
	b.look(testbed.Key(fresh))
	if len(v.known) != 3 || v.known[0] != nil || v.known[1] != nil || v.known[2] == nil {
		t.Errorf("believed: %v", v.known)
	}
}

// echo is a Views whose watch is faster than the answer to a write.
type echo struct {
	observer.Views
	o    *observer.Observer
	more uint64 // another's write that is heard of at the same time

	mu   sync.Mutex
	puts []string // the keys, once their watch has told and their write is answered
}

func (e *echo) Put(ctx context.Context, key string, src views.Source, now time.Time) (views.Present, error) {
	p, err := e.Views.Put(ctx, key, src, now)
	if len(e.answered()) == 0 {
		e.o.Foreign(key, p.Revision, false)
		e.o.Foreign(key, p.Revision+e.more, false)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.puts = append(e.puts, key)
	return p, err
}

func (e *echo) answered() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.puts)
}

func TestALookIsNotRepeatedForItsOwnWrite(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		more uint64
		puts int
	}{"its own": {0, 1}, "another's too": {1, 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			e := &echo{Views: b.store, more: c.more}
			e.o = b.observerOver(e, 1)
			b.run(e.o)
			first, last := b.born("first"), b.born("last")
			for _, r := range []*sandbox.Record{first, last} {
				b.world.Set(r, 10, testbed.ReadyPod(r, 10))
			}
			e.o.Enqueue(testbed.Key(first))
			testbed.Eventually(t, "the looks", func() bool { return len(e.answered()) >= c.puts })
			// One worker: what the first look enqueued comes before this.
			e.o.Enqueue(testbed.Key(last))
			testbed.Eventually(t, "the last look", func() bool { return slices.Contains(e.answered(), testbed.Key(last)) })
			if got := e.answered(); len(got) != c.puts+1 {
				t.Errorf("looks at %q, want %d", got, c.puts+1)
			}
		})
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
	go func() {
		done <- b.o.Pass(ctx, b.created().Add(-time.Hour), []string{testbed.Key(r)}, map[string]struct{}{testbed.Key(r): {}})
	}()
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
