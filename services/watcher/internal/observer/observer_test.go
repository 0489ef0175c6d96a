package observer_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
	"github.com/sandbar-io/sandbar/services/watcher/internal/events"
	"github.com/sandbar-io/sandbar/services/watcher/internal/meter"
	"github.com/sandbar-io/sandbar/services/watcher/internal/observer"
	"github.com/sandbar-io/sandbar/services/watcher/internal/testbed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sent is a Commands that remembers.
type sent struct {
	mu   sync.Mutex
	all  []sandbox.Command
	fail error
}

func (s *sent) Send(_ context.Context, c sandbox.Command, _ time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	s.all = append(s.all, c)
	return nil
}

func (s *sent) take() []sandbox.Command {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.all
	s.all = nil
	return out
}

// tails is a Logs with one text for all.
type tails struct {
	text  string
	known bool
}

func (t *tails) Tail(context.Context, string, *sandbox.Pod) (string, bool) { return t.text, t.known }

// clock is a clock that only the test moves.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

type bench struct {
	t     *testing.T
	conn  *natsx.Conn
	store *views.Store
	world *testbed.World
	sent  *sent
	logs  *tails
	clock *clock
	signs *signs
	// witness tells the time; signs where a test says nothing.
	witness observer.Witness
	o       *observer.Observer
}

// signs is what the clocks go by, all of it as the test says.
type signs struct {
	mu     sync.Mutex
	clock  *clock
	line   sandbox.Timeline
	lost   bool // the time is not known
	signs  sandbox.Signs
	asked  []string // pod UIDs
	answer time.Duration
	at     time.Time
}

func (s *signs) Now() (time.Time, sandbox.Timeline, bool) { return s.clock.at, s.line, !s.lost }

func (s *signs) Signs(string, *sandbox.Record) sandbox.Signs { return s.signs }

func (s *signs) Ask(_ string, p *sandbox.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, p.UID)
}

func (s *signs) Answer(string) (time.Time, time.Duration) { return s.at, s.answer }

func no() bool { return false }

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{
		t: t, conn: testbed.NewServer(t).Ready(), world: testbed.NewWorld(), sent: &sent{},
		logs: &tails{known: true}, clock: &clock{time.Now()},
	}
	b.signs = &signs{clock: b.clock}
	b.witness = b.signs
	b.store = views.NewStore(b.conn.JS, testbed.Sealer(t), 0)
	b.o = b.observer(b.store)
	return b
}

// observer returns another watcher's over the same world.
func (b *bench) observer(v observer.Views) *observer.Observer { return b.observerOver(v, 4) }

func (b *bench) observerOver(v observer.Views, workers int) *observer.Observer {
	return b.newObserver(v, observer.Config{Policy: sandbox.DefaultPolicy, PurgeAfter: sandbox.PurgeAfter, Workers: workers})
}

// observerWith returns one of another configuration.
func (b *bench) observerWith(change func(*observer.Config)) *observer.Observer {
	cfg := observer.Config{Policy: sandbox.DefaultPolicy, PurgeAfter: sandbox.PurgeAfter, Workers: 4}
	change(&cfg)
	return b.newObserver(b.store, cfg)
}

func (b *bench) newObserver(v observer.Views, cfg observer.Config) *observer.Observer {
	m := meter.New(prometheus.NewRegistry(), no, no)
	o := observer.New(
		cfg, b.world, v, events.New(b.conn.JS, m, zap.NewNop()), b.sent, b.logs,
		observer.Clocks{Witness: b.witness, Usage: b.signs, Agents: b.signs}, m, zap.NewNop(), b.clock.now)
	b.t.Cleanup(o.Close)
	return o
}

func (b *bench) look(key string) time.Time {
	b.t.Helper()
	again, err := b.o.Look(b.t.Context(), key)
	if err != nil {
		b.t.Fatal(err)
	}
	return again
}

func (b *bench) view(key string) *sandbox.View {
	b.t.Helper()
	p, err := b.store.Read(b.t.Context(), key)
	if err != nil {
		b.t.Fatal(err)
	}
	return p.View
}

func (b *bench) wantEvents(want ...sandbox.EventType) {
	b.t.Helper()
	if got := testbed.Types(b.t, testbed.Events(b.t, b.conn, "acme")); !slices.Equal(got, want) {
		b.t.Errorf("events %v, want %v", got, want)
	}
}

// born is a sandbox that is younger than the bucket.
func (b *bench) born(session string) *sandbox.Record { return testbed.Record(session, time.Now()) }

func TestALifeInViewsAndEvents(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.born("s")
	key := testbed.Key(r)
	steps := []struct {
		name   string
		change func()
		status sandbox.Status
		pod    sandbox.PodStatus
	}{
		{"accepted", func() { b.world.Set(r, 10) }, sandbox.StatusStarting, sandbox.PodNotFound},
		{"pending", func() { b.world.Set(r, 11, testbed.Pod(r, 11)) }, sandbox.StatusStarting, sandbox.PodPending},
		{"ready", func() { b.world.Set(r, 12, testbed.ReadyPod(r, 12)) }, sandbox.StatusRunning, sandbox.PodReady},
		{"paused", func() { r.Generation++; r.Desired = sandbox.Paused; b.world.Set(r, 13) }, sandbox.StatusPaused, sandbox.PodNotFound},
		{"resumed", func() { r.Generation++; r.Desired = sandbox.Running; r.Incarnation++; b.world.Set(r, 14) }, sandbox.StatusStarting, sandbox.PodNotFound},
		{"ready again", func() { b.world.Set(r, 15, testbed.ReadyPod(r, 15)) }, sandbox.StatusRunning, sandbox.PodReady},
		{"stopped", func() { r.Generation++; r.Desired = sandbox.Stopped; b.world.Set(r, 16) }, sandbox.StatusStopped, sandbox.PodNotFound},
	}
	for _, s := range steps {
		s.change()
		b.look(key)
		if v := b.view(key); v.Status != s.status || v.PodStatus != s.pod {
			t.Errorf("%s: %s, %s; want %s, %s", s.name, v.Status, v.PodStatus, s.status, s.pod)
		}
	}
	b.world.Remove(r.Name)
	b.look(key)
	if v := b.view(key); v != nil {
		t.Errorf("the key of a purged record still holds %+v", v)
	}
	b.wantEvents(sandbox.EventRequested, sandbox.EventStarting, sandbox.EventReady, sandbox.EventPaused,
		sandbox.EventResumed, sandbox.EventStarting, sandbox.EventReady, sandbox.EventStopped)
}

func TestEventsOfAnothersWriteArePublished(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.born("s")
	key := testbed.Key(r)
	b.world.Set(r, 10)
	// The provisioner wrote the first view and died.
	p, err := b.store.Put(t.Context(), key, views.Source{
		Observe: func(prev *sandbox.View) sandbox.View {
			v, _ := sandbox.Observe(r, nil, prev, 10, sandbox.DefaultPolicy, time.Now())
			return v
		},
		Live: func(context.Context) (bool, error) { return true, nil }, Born: r.CreatedAt,
	}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	b.o.Foreign(key, p.Revision, false)
	if b.o.Waiting() != 1 {
		t.Fatal("another's write is not looked at")
	}
	b.look(key)
	b.wantEvents(sandbox.EventRequested)
	b.o.Foreign(key, p.Revision, false)
	b.o.Foreign("heartbeat", p.Revision+1, false)
	if b.o.Waiting() != 1 {
		t.Error("what is known already is looked at again")
	}
}

func TestAnOlderLookChangesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.born("s")
	key := testbed.Key(r)
	b.world.Set(r, 20, testbed.ReadyPod(r, 20))
	b.look(key)
	lagging := b.observer(b.store)
	b.world.Show(r, 15)
	b.world.ShowObjects(r.Name, time.Time{})
	if _, err := lagging.Look(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if v := b.view(key); v.Status != sandbox.StatusRunning || v.Order != 20 {
		t.Errorf("a watcher that lags wrote %s at %d", v.Status, v.Order)
	}
}

// An event tells of what readers can see: where the view is not written, nothing
// is published.
func TestNoEventWithoutItsView(t *testing.T) {
	t.Parallel()
	for name, prevent := range map[string]func(*bench, *sandbox.Record){
		"the record moved": func(b *bench, r *sandbox.Record) {
			moved := r.Clone()
			moved.Generation++
			b.world.SetLive(moved)
		},
		"the API server is away": func(b *bench, _ *sandbox.Record) {
			b.world.Fail(errors.New("no answer"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			r := b.born("s")
			b.world.Set(r, 10, testbed.ReadyPod(r, 10))
			prevent(b, r)
			if _, err := b.o.Look(t.Context(), testbed.Key(r)); err == nil {
				t.Error("the look succeeded")
			}
			if v := b.view(testbed.Key(r)); v != nil {
				t.Errorf("a view was written: %+v", v)
			}
			b.wantEvents()
		})
	}
}
