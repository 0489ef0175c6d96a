package usage_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/watcher/internal/testbed"
	"github.com/sandbar-io/sandbar/services/watcher/internal/usage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a book that follows the bucket of a real server.
type bench struct {
	t    *testing.T
	srv  *testbed.Server
	conn *natsx.Conn
	book *usage.Book
	r    *sandbox.Record
	key  string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	srv := testbed.NewServer(t)
	b := &bench{t: t, srv: srv, conn: srv.Ready(), book: usage.NewBook(time.Now), r: testbed.Record("s", time.Now())}
	b.key = testbed.Key(b.r)
	return b
}

// follow runs the book until the test ends.
func (b *bench) follow() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.book.Follow(ctx, b.conn.JS, zap.NewNop())
	}()
	b.t.Cleanup(func() { cancel(); <-done })
}

func (b *bench) put(key string, value any) {
	b.t.Helper()
	body, err := json.Marshal(value)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.conn.JS.Publish(b.t.Context(), "$KV."+contract.ActivityBucket+"."+key, body); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) traffic(last time.Time) {
	b.t.Helper()
	b.put(b.key, contract.Activity{RuntimeID: b.r.RuntimeID, Last: last})
}

// wait looks until the signs are as wanted.
func (b *bench) wait(what string, want func(sandbox.Signs) bool) sandbox.Signs {
	b.t.Helper()
	var s sandbox.Signs
	testbed.Eventually(b.t, what, func() bool {
		s = b.book.Signs(b.key, b.r)
		return want(s)
	})
	return s
}

func known(s sandbox.Signs) bool { return s.Known }

func TestWhatTheBucketHolds(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	past := time.Now().Add(-time.Hour).UTC().Truncate(time.Millisecond)
	b.traffic(past)
	if s := b.book.Signs(b.key, b.r); s.Known {
		t.Error("known before anything was read")
	}
	b.follow()
	s := b.wait("loaded", known)
	if !s.Traffic.Equal(past) || s.Claimed || s.Floor.IsZero() || time.Since(s.Floor) > time.Minute {
		t.Errorf("%+v", s)
	}
	if other := b.book.Signs("acme."+sandbox.RecordName("acme", "other"), b.r); !other.Traffic.IsZero() {
		t.Errorf("another's: %+v", other)
	}
	// A sandbox of the session before this one.
	b.put(b.key, contract.Activity{RuntimeID: "zzzzzzzzzzzzzzzz", Last: time.Now()})
	b.wait("another sandbox's traffic", func(s sandbox.Signs) bool { return s.Traffic.IsZero() })
}

// A router whose clock is a day behind does not make its sandboxes look idle.
func TestWhatIsToldNowIsNow(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.follow()
	b.wait("loaded", known)
	begin := time.Now()
	b.traffic(begin.Add(-24 * time.Hour))
	s := b.wait("told", func(s sandbox.Signs) bool { return !s.Traffic.IsZero() })
	if s.Traffic.Before(begin) {
		t.Errorf("%v", s.Traffic)
	}
	ahead := begin.Add(time.Hour).UTC()
	b.traffic(ahead)
	b.wait("a clock ahead", func(s sandbox.Signs) bool { return s.Traffic.Equal(ahead) })
	b.traffic(begin) // another router's, that saw less
	b.put("claim."+b.key, contract.Claim{RuntimeID: b.r.RuntimeID, Generation: b.r.Generation})
	if s := b.wait("claimed", func(s sandbox.Signs) bool { return s.Claimed }); !s.Traffic.Equal(ahead) {
		t.Errorf("went back to %v", s.Traffic)
	}
}

func TestClaimsAreOfAGeneration(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.follow()
	b.wait("loaded", known)
	b.put("claim."+b.key, contract.Claim{RuntimeID: b.r.RuntimeID, Generation: b.r.Generation})
	b.wait("claimed", func(s sandbox.Signs) bool { return s.Claimed })
	resumed := b.r.Clone()
	resumed.Generation++
	if b.book.Signs(b.key, resumed).Claimed {
		t.Error("a claim from before a resume counts after it")
	}
	another := b.r.Clone()
	another.RuntimeID = "zzzzzzzzzzzzzzzz"
	if b.book.Signs(b.key, another).Claimed {
		t.Error("another sandbox's claim counts")
	}
}

func TestNonsenseIsPassedOver(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, key := range []string{b.key, "claim." + b.key} {
		if _, err := b.conn.JS.Publish(t.Context(), "$KV."+contract.ActivityBucket+"."+key, []byte("{")); err != nil {
			t.Fatal(err)
		}
	}
	b.put("claim.x", 1)
	b.put("a.b.c.d", 1)
	b.follow()
	if s := b.wait("loaded", known); s.Claimed || !s.Traffic.IsZero() {
		t.Errorf("%+v", s)
	}
}

// After NATS was emptied nothing is known of before; what this watcher knows
// itself stays.
func TestTheBucketIsMadeAnew(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.follow()
	first := b.wait("loaded", known)
	b.traffic(time.Now())
	b.put("claim."+b.key, contract.Claim{RuntimeID: b.r.RuntimeID, Generation: b.r.Generation})
	b.wait("told", func(s sandbox.Signs) bool { return s.Claimed })
	b.srv.Wipe()
	b.wait("gone", func(s sandbox.Signs) bool { return !s.Known })
	testbed.Eventually(t, "the streams are there", func() bool { return b.conn.EnsureViews(t.Context()) == nil })
	s := b.wait("made anew", known)
	if !s.Floor.After(first.Floor) || !s.Claimed || s.Traffic.IsZero() {
		t.Errorf("%+v after %+v", s, first)
	}
}
