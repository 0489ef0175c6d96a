package reach_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/watcher/internal/reach"
)

// door answers as it is told, and remembers who asked when.
type door struct {
	mu     sync.Mutex
	answer sandbox.Reach
	asked  []time.Duration
	since  time.Time
}

func (d *door) look(_ context.Context, url string) (sandbox.Reach, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, time.Since(d.since))
	if d.answer == sandbox.Reached {
		return d.answer, nil
	}
	return d.answer, errors.New("no answer at " + url)
}

func (d *door) says(r sandbox.Reach) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answer = r
}

func (d *door) times() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.asked)
}

// bubble is Routes over a door in a bubble of time.
type bubble struct {
	*reach.Routes
	door *door
	mu   sync.Mutex
	keys []string
}

// newBubble is called inside of synctest.Test.
func newBubble(t *testing.T, log *zap.Logger) *bubble {
	t.Helper()
	d := &door{since: time.Now(), answer: sandbox.ReachConnection}
	b := &bubble{Routes: reach.New(d.look, log), door: d}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		b.Run(ctx, func(key string) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.keys = append(b.keys, key)
		})
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return b
}

// told are the keys that were told of, once nothing is under way.
func (b *bubble) told() []string {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.keys)
}

var one = reach.Route{Incarnation: 1, RuntimeID: "abcdefghijklmnop", URL: "http://s.example"}

func TestItIsAskedUntilItAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, zap.NewNop())
		b.Ask("k", one)
		for range 3 {
			b.Ask("k", one) // changes nothing
		}
		if got := b.told(); !slices.Equal(got, []string{"k"}) || b.Seen("k", 1) != sandbox.ReachConnection {
			t.Errorf("told %q, seen %q", got, b.Seen("k", 1))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		want := []time.Duration{0, 250, 750, 1750, 3750, 7750, 12750, 17750} // ms: twice as long each time, at most 5 s
		for i := range want {
			if b.door.asked[i] != want[i]*time.Millisecond {
				t.Fatalf("asked after %v, want %v ms and so on", b.door.asked, want)
			}
		}
		if got := b.told(); len(got) != 1 {
			t.Errorf("told %d times of the same", len(got))
		}
		b.door.says(sandbox.Reached)
		time.Sleep(5 * time.Second)
		if got := b.told(); len(got) != 2 || b.Seen("k", 1) != sandbox.Reached {
			t.Errorf("told %d times, seen %q; want it told that it answers", len(got), b.Seen("k", 1))
		}
		before := b.door.times()
		b.Ask("k", one)
		time.Sleep(time.Hour)
		synctest.Wait()
		if b.door.times() != before {
			t.Error("it is asked though it has answered")
		}
	})
}

func TestANewPodIsAskedAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, zap.NewNop())
		b.door.says(sandbox.Reached)
		b.Ask("k", one)
		b.told()
		b.door.says(sandbox.ReachOfStatus(503))
		two := one
		two.Incarnation = 2
		if b.Seen("k", 2) != "" {
			t.Error("what was seen of the first counts for the second")
		}
		b.Ask("k", two)
		b.told()
		if b.Seen("k", 2) != "http_status:503" || b.Seen("k", 1) != "" {
			t.Errorf("seen %q of the second, %q of the first", b.Seen("k", 2), b.Seen("k", 1))
		}
	})
}

func TestWhatIsDroppedIsNotAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, zap.NewNop())
		b.Ask("k", one)
		b.told()
		b.Drop("k")
		b.Drop("unknown")
		before := b.door.times()
		time.Sleep(time.Minute)
		synctest.Wait()
		if b.door.times() != before || b.Seen("k", 1) != "" {
			t.Errorf("asked %d times after it was dropped, seen %q", b.door.times()-before, b.Seen("k", 1))
		}
	})
}

// While one look hangs the others are done; what was dropped meanwhile is told of
// to nobody.
// oneHangs is a look at which one never answers, and all others do.
func oneHangs(ctx context.Context, url string) (sandbox.Reach, error) {
	if url == one.URL {
		<-ctx.Done()
		return sandbox.ReachTimeout, ctx.Err()
	}
	return sandbox.Reached, nil
}

func TestALookThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var keys []string
		r := reach.New(oneHangs, zap.NewNop())
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			r.Run(ctx, func(key string) {
				mu.Lock()
				defer mu.Unlock()
				keys = append(keys, key)
			})
		})
		r.Ask("hangs", one)
		r.Ask("dropped", one)
		r.Ask("answers", reach.Route{Incarnation: 1, URL: "http://t.example"})
		synctest.Wait()
		r.Drop("dropped")
		time.Sleep(6 * time.Second)
		synctest.Wait()
		mu.Lock()
		got := slices.Clone(keys)
		mu.Unlock()
		if !slices.Equal(got, []string{"answers", "hangs"}) || r.Seen("hangs", 1) != sandbox.ReachTimeout {
			t.Errorf("told of %q, want answers and, after its time, hangs", got)
		}
		cancel()
		wg.Wait()
	})
}

// Sandboxes that answer their kubelet and hang for everybody else keep no other one
// waiting.
func TestThoseThatHangKeepNobodyWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := reach.New(oneHangs, zap.NewNop())
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { r.Run(ctx, func(string) {}) })
		for i := range 300 {
			r.Ask(fmt.Sprint("hangs-", i), one)
		}
		time.Sleep(3 * time.Minute)
		r.Ask("answers", reach.Route{Incarnation: 1, URL: "http://t.example"})
		time.Sleep(time.Second)
		synctest.Wait()
		if r.Seen("answers", 1) != sandbox.Reached {
			t.Error("it waits behind those that hang")
		}
		cancel()
		wg.Wait()
	})
}

func TestTheLogTellsOfWhatLasts(t *testing.T) {
	t.Parallel()
	core, logged := observer.New(zap.WarnLevel)
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, zap.New(core))
		b.Ask("k", one)
		time.Sleep(time.Second)
		b.told()
		if logged.Len() != 0 {
			t.Error("it tells of what a controller needs to program a route")
		}
		time.Sleep(time.Minute)
		b.told()
		b.door.says(sandbox.ReachTLS)
		time.Sleep(time.Minute)
		b.told()
		if all := logged.All(); len(all) != 2 || all[0].ContextMap()["code"] != "connection_error" || all[1].ContextMap()["code"] != "tls_error" {
			t.Errorf("%d lines, want one for each trouble: %v", len(all), all)
		}
	})
}
