package bucket_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/views"
	"github.com/sandbar-io/sandbar/services/watcher/internal/bucket"
	"github.com/sandbar-io/sandbar/services/watcher/internal/testbed"
	"github.com/sandbar-io/sandbar/services/watcher/internal/witness"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// passes is an Observer whose passes end when the test says so.
type passes struct {
	mu      sync.Mutex
	begun   []time.Time
	lists   []int // Refresh calls before each
	world   *testbed.World
	allow   chan struct{}
	foreign []string
	queued  []string
	resets  int // of what is known of events
}

func (p *passes) Pass(ctx context.Context, created time.Time, _ []string, _ map[string]struct{}) error {
	p.mu.Lock()
	p.begun, p.lists = append(p.begun, created), append(p.lists, p.world.Lists())
	p.mu.Unlock()
	select {
	case <-p.allow:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *passes) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resets++
}

func (p *passes) EnqueueAll(keys []string, _ time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queued = append(p.queued, keys...)
}

func (p *passes) Foreign(key string, _ uint64, _ bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.foreign = append(p.foreign, key)
}

func (p *passes) hasQueued(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.queued, key)
}

func (p *passes) hasForeign(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.foreign, key)
}

func (p *passes) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.begun)
}

type bench struct {
	t     *testing.T
	srv   *testbed.Server
	conn  *natsx.Conn
	world *testbed.World
	obs   *passes
	g     *bucket.Guard
	stop  func()
}

func newBench(t *testing.T, srv *testbed.Server) *bench {
	t.Helper()
	b := &bench{t: t, srv: srv, conn: srv.Connect(), world: testbed.NewWorld()}
	b.obs = &passes{allow: make(chan struct{}), world: b.world}
	b.g = &bucket.Guard{
		JS: b.conn.JS, Ensure: b.conn.EnsureViews, Remake: b.conn.RemakeViews, Beats: views.NewStore(b.conn.JS, testbed.Sealer(t), 0), Witness: witness.New(witness.System()),
		Records: b.world, Observer: b.obs, Events: b.obs, Identity: "me", Resync: time.Hour, Log: zap.NewNop(),
	}
	return b
}

func (b *bench) start() {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { b.g.Run(ctx) })
	b.stop = func() { cancel(); wg.Wait() }
	b.t.Cleanup(b.stop)
}

// beat is the heartbeat that stands in the bucket, and the bucket's creation.
func (b *bench) beat() (h contract.Heartbeat, created time.Time) {
	s, err := b.conn.JS.Stream(b.t.Context(), contract.ViewStream)
	if err != nil {
		return h, created
	}
	m, err := s.GetLastMsgForSubject(b.t.Context(), "$KV."+contract.ViewBucket+"."+contract.HeartbeatKey)
	if err != nil {
		return h, created
	}
	if h, err = contract.DecodeHeartbeat(m.Data); err != nil {
		b.t.Error(err)
	}
	return h, s.CachedInfo().Created
}

func (b *bench) beats(complete bool) func() bool {
	return func() bool {
		h, created := b.beat()
		return h.Leader == "me" && h.Complete == complete && h.Created.Equal(created)
	}
}

func TestCompleteOnlyAfterAPassOverFreshLists(t *testing.T) {
	t.Parallel()
	b := newBench(t, testbed.NewServer(t))
	b.world.Fail(errors.New("the API server is away"))
	b.start()
	testbed.Eventually(t, "a heartbeat that is not complete", b.beats(false))
	b.world.Fail(nil)
	testbed.Eventually(t, "a pass", func() bool { return b.obs.count() == 1 })
	if b.obs.lists[0] != 1 || b.g.Complete() {
		t.Error("the pass began without a fresh list, or is taken as done")
	}
	b.obs.allow <- struct{}{}
	testbed.Eventually(t, "a heartbeat that is complete", b.beats(true))
	testbed.Eventually(t, "the guard says so", b.g.Complete)
}

func TestAWipeBeginsAnew(t *testing.T) {
	t.Parallel()
	b := newBench(t, testbed.NewServer(t))
	b.start()
	b.obs.allow <- struct{}{}
	testbed.Eventually(t, "complete", b.beats(true))
	b.srv.Wipe()
	testbed.Eventually(t, "not complete in the new bucket", b.beats(false))
	testbed.Eventually(t, "a second pass", func() bool { return b.obs.count() == 2 })
	if b.obs.resets != 2 {
		t.Errorf("what is known of the events was dropped %d times, want once for each stream", b.obs.resets)
	}
	if b.obs.lists[1] != 2 || b.obs.begun[1].Equal(b.obs.begun[0]) {
		t.Error("the second pass is not one over fresh lists for the new bucket")
	}
	b.obs.allow <- struct{}{}
	testbed.Eventually(t, "complete again", b.beats(true))
	for _, name := range []string{contract.ActivityStream, contract.EventStream} {
		if _, err := b.conn.JS.Stream(t.Context(), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An older store says of itself that it is complete, and is of the same creation.
// The leader makes the bucket anew: readers must not take it for what is.
func TestAnOlderBucketIsMadeAnew(t *testing.T) {
	t.Parallel()
	b := newBench(t, testbed.NewServer(t))
	b.start()
	b.obs.allow <- struct{}{}
	testbed.Eventually(t, "complete", b.beats(true))
	_, created := b.beat()
	older := b.srv.Keep()
	sequence := func() uint64 {
		s, err := b.conn.JS.Stream(t.Context(), contract.ViewStream)
		if err != nil {
			return 0
		}
		return s.CachedInfo().State.LastSeq
	}
	var from uint64
	testbed.Eventually(t, "the bucket", func() bool { from = sequence(); return from > 0 })
	testbed.Eventually(t, "the bucket to go on", func() bool { return sequence() > from+2 })
	if b.obs.count() != 1 {
		t.Error("a restart with the same store began a pass")
	}
	b.srv.Back(older)
	testbed.Eventually(t, "another bucket, not complete", func() bool {
		h, now := b.beat()
		return !now.IsZero() && !now.Equal(created) && !h.Complete
	})
	testbed.Eventually(t, "a second pass", func() bool { return b.obs.count() == 2 })
	b.obs.allow <- struct{}{}
	testbed.Eventually(t, "complete again", b.beats(true))
}

// beater tells of each heartbeat that was written.
type beater struct {
	bucket.Beater
	written chan struct{}
}

func (b beater) Beat(ctx context.Context, h contract.Heartbeat) error {
	err := b.Beater.Beat(ctx, h)
	if err == nil {
		select {
		case b.written <- struct{}{}:
		case <-ctx.Done():
		}
	}
	return err
}

// The bucket is looked at as soon as NATS is back, not with the next turn: so that
// readers do not wait for a heartbeat that NATS would take.
func TestTheBucketIsLookedAtWhenNATSIsBack(t *testing.T) {
	t.Parallel()
	b := newBench(t, testbed.NewServer(t))
	beats := beater{b.g.Beats, make(chan struct{})}
	b.g.Beats = beats
	b.start()
	<-beats.written
	began := time.Now()
	const rounds = 6
	for range rounds {
		if err := b.conn.ForceReconnect(); err != nil {
			t.Fatal(err)
		}
		<-beats.written
	}
	// By turns alone they come a second apart.
	if took := time.Since(began); took > rounds*time.Second/2 {
		t.Errorf("%d heartbeats after as many reconnections took %v", rounds, took)
	}
}

func TestASuccessorKeepsCompleteAndPassesAnyway(t *testing.T) {
	t.Parallel()
	b := newBench(t, testbed.NewServer(t))
	b.start()
	b.obs.allow <- struct{}{}
	testbed.Eventually(t, "complete", b.beats(true))
	b.stop()
	next := newBench(t, b.srv)
	next.g.Identity = "next"
	next.start()
	testbed.Eventually(t, "the successor's heartbeat", func() bool { h, _ := b.beat(); return h.Leader == "next" })
	if h, _ := b.beat(); !h.Complete {
		t.Error("a complete bucket became incomplete by a change of leaders")
	}
	testbed.Eventually(t, "the successor's pass", func() bool { return next.obs.count() == 1 })
}

func TestAStreamThatIsGoneIsMadeAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, testbed.NewServer(t))
	b.start()
	testbed.Eventually(t, "a heartbeat", b.beats(false))
	if err := b.conn.JS.DeleteStream(t.Context(), contract.EventStream); err != nil {
		t.Fatal(err)
	}
	testbed.Eventually(t, "the events are back", func() bool {
		_, err := b.conn.JS.Stream(t.Context(), contract.EventStream)
		return err == nil
	})
}

func TestKeysAreComparedAndFollowed(t *testing.T) {
	t.Parallel()
	b := newBench(t, testbed.NewServer(t))
	if err := b.conn.EnsureViews(t.Context()); err != nil {
		t.Fatal(err)
	}
	kv, err := b.conn.JS.KeyValue(t.Context(), contract.ViewBucket)
	if err != nil {
		t.Fatal(err)
	}
	put := func(key string) {
		t.Helper()
		if _, err := kv.Put(t.Context(), key, []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	put("acme.phantom")
	put("acme.deleted")
	if err := kv.Purge(t.Context(), "acme.deleted"); err != nil {
		t.Fatal(err)
	}
	r := testbed.Record("s", time.Now())
	b.world.Set(r, 1)
	b.start()
	b.obs.allow <- struct{}{}
	testbed.Eventually(t, "a key without a record", func() bool { return b.obs.hasQueued("acme.phantom") })
	testbed.Eventually(t, "a record without a key", func() bool { return b.obs.hasQueued(testbed.Key(r)) })
	testbed.Eventually(t, "what was there", func() bool { return b.obs.hasForeign("acme.phantom") })
	put("acme.later")
	testbed.Eventually(t, "what comes", func() bool { return b.obs.hasForeign("acme.later") })
	if b.obs.hasQueued("acme.deleted") || b.obs.hasQueued(contract.HeartbeatKey) {
		t.Error("a deleted key or the heartbeat is looked at")
	}
}
