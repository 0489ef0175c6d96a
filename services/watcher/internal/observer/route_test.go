package observer_test

import (
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx/natstest"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/watcher/internal/observer"
	"github.com/sandbar-io/sandbar/services/watcher/internal/reach"
	"github.com/sandbar-io/sandbar/services/watcher/internal/testbed"
)

// doors is a Routes that the test answers for.
type doors struct {
	asked map[string]reach.Route
	seen  sandbox.Reach
}

func (d *doors) Ask(key string, r reach.Route) { d.asked[key] = r }

func (d *doors) Drop(key string) { delete(d.asked, key) }

func (d *doors) Seen(key string, incarnation int64) sandbox.Reach {
	if d.asked[key].Incarnation != incarnation {
		return ""
	}
	return d.seen
}

// controlled is another watcher's observer, where a controller leads to sandboxes.
func (b *bench) controlled() (*observer.Observer, *doors) {
	d := &doors{asked: map[string]reach.Route{}}
	return b.observerWith(func(c *observer.Config) { c.Policy.VerifyRoute, c.Routes = true, d }), d
}

// empty makes the bucket anew.
func (b *bench) empty() {
	b.t.Helper()
	if err := b.conn.JS.DeleteStream(b.t.Context(), contract.ViewStream); err != nil {
		b.t.Fatal(err)
	}
	if err := natstest.Again(b.t.Context(), b.conn.EnsureViews); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) wantStatus(key string, status sandbox.Status, detail string) {
	b.t.Helper()
	if v := b.view(key); v == nil || v.Status != status || v.StatusDetail != detail {
		b.t.Errorf("the view is %+v, want it %s with %q", v, status, detail)
	}
}

func TestReadyOnlyAfterThePublicURLAnswers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	o, d := b.controlled()
	b.o = o
	r := b.born("s")
	key := testbed.Key(r)
	b.world.Set(r, 10, testbed.Pod(r, 10))
	b.look(key)
	if len(d.asked) != 0 {
		t.Error("a pod that is not ready is asked for")
	}
	b.world.Set(r, 11, testbed.ReadyPod(r, 11))
	b.look(key)
	b.wantStatus(key, sandbox.StatusStarting, "")
	if want := (reach.Route{Incarnation: r.Incarnation, RuntimeID: r.RuntimeID, URL: r.Route.URL}); d.asked[key] != want {
		t.Fatalf("asked for %+v, want %+v", d.asked, want)
	}
	d.seen = sandbox.ReachOfStatus(404)
	b.look(key)
	b.wantStatus(key, sandbox.StatusStarting, "runtime_ingress:http_status:404")
	d.seen = sandbox.Reached
	b.look(key)
	b.wantStatus(key, sandbox.StatusRunning, "")
	if len(d.asked) != 0 {
		t.Error("it is asked on after it has answered")
	}
	b.wantEvents(sandbox.EventRequested, sandbox.EventStarting, sandbox.EventReady)

	r.Generation++
	r.Incarnation++
	next := testbed.ReadyPod(r, 20)
	next.UID += "-next"
	b.world.Set(r, 20, next)
	b.look(key)
	b.wantStatus(key, sandbox.StatusStarting, "")
	if d.asked[key].Incarnation != r.Incarnation {
		t.Error("the next incarnation's route counts as verified")
	}
	r.Generation++
	r.Desired = sandbox.Paused
	b.world.Set(r, 21)
	b.look(key)
	if len(d.asked) != 0 {
		t.Error("a paused sandbox is asked for")
	}
}

func TestAnotherWatcherVerifiesNothingAnew(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	first, d := b.controlled()
	r := b.born("s")
	key := testbed.Key(r)
	b.world.Set(r, 10, testbed.ReadyPod(r, 10))
	d.seen = sandbox.Reached
	b.o = first
	b.look(key)
	b.look(key)
	b.wantStatus(key, sandbox.StatusRunning, "")
	var next *doors
	b.o, next = b.controlled()
	b.look(key)
	b.wantStatus(key, sandbox.StatusRunning, "")
	if len(next.asked) != 0 {
		t.Error("the next leader asks for what is verified")
	}
}

// A bucket that is emptied under a sandbox changes nothing of what is known, and
// where nothing is known, a sandbox that is ready is taken for one that served.
func TestAnEmptiedBucketIsNoFailure(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		seen    sandbox.Reach
		restart bool
		want    sandbox.Status
		detail  string
	}{
		"it ran":                              {sandbox.Reached, false, sandbox.StatusRunning, ""},
		"it ran, and the watcher is another":  {sandbox.Reached, true, sandbox.StatusRunning, ""},
		"its route failed":                    {sandbox.ReachTLS, false, sandbox.StatusStarting, "runtime_ingress:tls_error"},
		"nobody knew, the watcher is another": {"", true, sandbox.StatusRunning, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			var d *doors
			b.o, d = b.controlled()
			r := b.born("s")
			key := testbed.Key(r)
			b.world.Set(r, 10, testbed.ReadyPod(r, 10))
			b.look(key)
			d.seen = c.seen
			b.look(key)
			b.empty()
			if c.restart {
				b.o, d = b.controlled()
			}
			b.clock.at = b.clock.at.Add(time.Second)
			b.look(key)
			b.wantStatus(key, c.want, c.detail)
			if asks := len(d.asked) > 0; asks != (c.want == sandbox.StatusStarting) {
				t.Errorf("asks for it: %t", asks)
			}
		})
	}
}
