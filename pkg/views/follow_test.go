package views_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/faultproxy"
	"github.com/sandbar-io/sandbar/pkg/natsx/natstest"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
)

func TestFollowerLoadsTheBucket(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	for i := range 20 {
		b.put(newView(fmt.Sprint("s", i), 1, ofRuntime(i)))
	}
	b.beat(true)
	f := b.follow()
	confirmed(t, f)
	if n := f.Memory().Len(); n != 20 {
		t.Errorf("%d views", n)
	}
	v := f.Memory().Session(tenant, "s3")
	if v == nil || v.SessionKey != "key-of-s3" || f.Memory().Runtime(runtimeID(3)) != v || len(ofTenant(f.Memory(), tenant)) != 20 {
		t.Errorf("%+v", v)
	}
	if s := f.Status(); !s.Ready || s.Leader != "watcher-0" || s.Sandboxes != 20 || s.Age < 0 || s.Age > patience {
		t.Errorf("%+v", s)
	}
}

func TestFollowerFollows(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.beat(true)
	f := b.follow()
	confirmed(t, f)
	p := b.put(newView("s", 1))
	confirmed(t, f)
	if v := f.Memory().Key(keyOf(p.View)); v == nil || v.Order != 1 || v.Revision != p.Revision {
		t.Errorf("%+v", v)
	}
	p = b.put(newView("s", 2, status(sandbox.StatusPaused)))
	confirmed(t, f)
	if v := f.Memory().Session(tenant, "s"); v == nil || v.Status != sandbox.StatusPaused {
		t.Errorf("%+v", v)
	}
	if ok, err := b.store().Delete(t.Context(), keyOf(p.View), p.Revision); !ok || err != nil {
		t.Fatalf("%v, %v", ok, err)
	}
	confirmed(t, f)
	if v := f.Memory().Session(tenant, "s"); v != nil {
		t.Errorf("%+v", v)
	}
	if f.Memory().Merge(newView("s", 3), p.Revision) {
		t.Error("a reply brought it back")
	}
	b.put(newView("s", 1, generation(2000)))
	confirmed(t, f)
	if v := f.Memory().Session(tenant, "s"); v == nil || v.Generation != 2000 {
		t.Errorf("%+v", v)
	}
	// The marker that the server leaves where a message aged.
	marker := nats.NewMsg("$KV." + contract.ViewBucket + "." + keyOf(p.View))
	marker.Header.Set(jetstream.MarkerReasonHeader, "MaxAge")
	if _, err := b.conn.JS.PublishMsg(t.Context(), marker); err != nil {
		t.Fatal(err)
	}
	confirmed(t, f)
	if v := f.Memory().Session(tenant, "s"); v != nil {
		t.Errorf("%+v", v)
	}
}

// A reader that cannot open the keys, as the router, sees all else.
func TestFollowerWithoutSealer(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.put(newView("s", 1))
	b.beat(true)
	f := views.NewFollower(b.conn.JS, nil, zap.NewNop())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	confirmed(t, f)
	if v := f.Memory().Session(tenant, "s"); v == nil || v.SessionKey != "" || v.Address != newView("s", 1).Address {
		t.Errorf("%+v", v)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// What cannot be read hides nothing else; but a sandbox that memory does not hold
// is not called absent until all can be read.
func TestFollowerOverWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	kv := b.kv()
	other, err := contract.EncodeView(newView("other", 1))
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{
		keyOf(newView("garbage", 1)): "garbage",
		keyOf(newView("swapped", 1)): string(other),
		"foreign":                    "x",
		contract.HeartbeatKey:        "garbage",
	} {
		if _, err := kv.Put(t.Context(), key, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	foreign := newView("foreign key", 1)
	sealer(t, 'b').Seal(foreign)
	body, err := contract.EncodeView(foreign)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), keyOf(foreign), body); err != nil {
		t.Fatal(err)
	}
	b.put(newView("s", 1))
	b.beat(true)
	f := b.follow()
	until(t, "a complete memory", func() bool { return f.Status().Ready })
	unconfirmed(t, f)
	b.put(newView("garbage", 2))
	b.put(newView("swapped", 2))
	unconfirmed(t, f)
	if err := kv.Purge(t.Context(), keyOf(foreign)); err != nil {
		t.Fatal(err)
	}
	confirmed(t, f)
	if n := f.Memory().Len(); n != 3 || f.Memory().Session(tenant, "s") == nil {
		t.Errorf("%v", f.Memory().Keys())
	}
	if _, err := kv.Put(t.Context(), contract.HeartbeatKey, []byte("garbage")); err != nil {
		t.Fatal(err)
	}
	confirmed(t, f)
}

// unconfirmed says that a read index fails, as it must, in time.
func unconfirmed(t *testing.T, f *views.Follower) {
	t.Helper()
	began := time.Now()
	err := f.ReadIndex(t.Context())
	if sandbox.CodeOf(err) != sandbox.CodeUnavailable {
		t.Errorf("a read index: %v", err)
	}
	if took := time.Since(began); took > 6*views.ReadIndexTimeout { // a busy machine
		t.Errorf("it took %v", took)
	}
}

func TestFollowerOfAnIncompleteBucket(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.put(newView("s", 1))
	f := b.follow()
	if f.Status().Ready || f.Status().Age != -1 {
		t.Errorf("%+v", f.Status())
	}
	unconfirmed(t, f)
	b.beat(false)
	until(t, "the heartbeat", func() bool { return f.Status().Leader != "" })
	unconfirmed(t, f)
	// Complete, but of a bucket that was.
	h := contract.Heartbeat{Leader: "watcher-1", Complete: true, Created: b.created().Add(-time.Hour)}
	if err := b.store().Beat(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	until(t, "the heartbeat", func() bool { return f.Status().Leader == "watcher-1" })
	unconfirmed(t, f)
	if f.Status().Ready || f.Memory().Len() != 0 {
		t.Errorf("%+v, %v", f.Status(), f.Memory().Keys())
	}
	b.beat(true)
	confirmed(t, f)
	if !f.Status().Ready || f.Memory().Session(tenant, "s") == nil {
		t.Errorf("%+v", f.Status())
	}
	b.beat(false) // of a new leader, that does not know it yet
	b.put(newView("s2", 1, ofRuntime(2)))
	confirmed(t, f)
	if f.Memory().Len() != 2 {
		t.Errorf("%v", f.Memory().Keys())
	}
}

// A bucket that was made anew is empty, the sandboxes are not gone: what was in
// memory stays until the leader says that the bucket is complete.
func TestFollowerOfABucketMadeAnew(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	for i, s := range []string{"kept", "replied", "gone"} {
		b.put(newView(s, 5, ofRuntime(i)))
	}
	b.beat(true)
	f := b.follow()
	confirmed(t, f)
	b.remake()
	unconfirmed(t, f)
	b.put(newView("kept", 6, ofRuntime(0)))
	b.put(newView("replied", 6, ofRuntime(1)))
	b.put(newView("new", 1, ofRuntime(3)))
	created := b.created()
	if err := b.store().Beat(t.Context(), contract.Heartbeat{Leader: "of the new bucket", Created: created}); err != nil {
		t.Fatal(err)
	}
	until(t, "the new bucket's heartbeat", func() bool { return f.Status().Leader == "of the new bucket" })
	unconfirmed(t, f)
	if n := f.Memory().Len(); n != 3 || !f.Status().Ready || f.Memory().Session(tenant, "gone") == nil {
		t.Fatalf("%v, %+v", f.Memory().Keys(), f.Status())
	}
	// Replies to commands that this gateway sent meanwhile: newer than the bucket.
	f.Memory().Merge(newView("replied", 7, ofRuntime(1)), 1<<62)
	f.Memory().Merge(newView("only replied", 1, ofRuntime(4)), 1<<62)
	b.beat(true)
	confirmed(t, f)
	if !b.created().Equal(created) {
		t.Fatal("the bucket was made once more")
	}
	want := map[string]uint64{"kept": 6, "replied": 7, "new": 1, "only replied": 1}
	for session, order := range want {
		if v := f.Memory().Session(tenant, session); v == nil || v.Order != order {
			t.Errorf("%s: %+v", session, v)
		}
	}
	if f.Memory().Len() != len(want) {
		t.Errorf("%v", f.Memory().Keys())
	}
	b.put(newView("later", 1, ofRuntime(5)))
	confirmed(t, f)
	if f.Memory().Session(tenant, "later") == nil {
		t.Error("the new watch brings nothing")
	}
}

// While the bucket is away at all, memory answers for what it holds.
func TestFollowerWithoutBucket(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.put(newView("s", 1))
	b.beat(true)
	f := b.follow()
	confirmed(t, f)
	if err := b.conn.JS.DeleteStream(t.Context(), contract.ViewStream); err != nil {
		t.Fatal(err)
	}
	unconfirmed(t, f)
	if f.Memory().Session(tenant, "s") == nil || !f.Status().Ready {
		t.Error("memory forgot")
	}
	if err := natstest.Again(t.Context(), b.conn.EnsureViews); err != nil {
		t.Fatal(err)
	}
	b.beat(true) // complete, and there is nothing
	confirmed(t, f)
	if f.Memory().Len() != 0 {
		t.Errorf("%v", f.Memory().Keys())
	}
}

func TestFollowerOverARestart(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.put(newView("before", 1, ofRuntime(1)))
	b.beat(true)
	f := b.follower(b.conn)
	// Time stands still: it is the new connection that tells of the restart, and not the
	// silence of the watch.
	now := time.Now()
	f.SetNow(func() time.Time { return now })
	b.run(f)
	confirmed(t, f)
	b.Stop()
	until(t, "the connection to be lost", func() bool { return !b.conn.IsConnected() })
	unconfirmed(t, f)
	if f.Memory().Session(tenant, "before") == nil || !f.Status().Ready {
		t.Error("memory forgot")
	}
	b.Start()
	until(t, "the connection", b.conn.IsConnected)
	until(t, "the bucket", func() bool {
		_, err := b.store().Read(t.Context(), "acme.x")
		return err == nil
	})
	b.put(newView("after", 1, ofRuntime(2)))
	confirmed(t, f)
	if f.Memory().Session(tenant, "before") == nil || f.Memory().Session(tenant, "after") == nil {
		t.Errorf("%v", f.Memory().Keys())
	}
}

// The marker of a delete goes after its time. Whoever was away while it came and went
// shows nothing that is gone.
func TestAMarkerExpiresWhileAFollowerIsAway(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	gone := newView("gone", 1, ofRuntime(1))
	b.put(gone)
	b.put(newView("stays", 1, ofRuntime(2)))
	b.beat(true)
	line, err := faultproxy.Listen(b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = line.Close() })
	far := b.connect("nats://" + line.Address())
	f := b.follower(far)
	var passed atomic.Int64
	f.SetNow(func() time.Time { return time.Now().Add(time.Duration(passed.Load())) })
	b.run(f)
	confirmed(t, f)
	line.Set(faultproxy.Cut)
	until(t, "the connection to be lost", func() bool { return !far.IsConnected() })
	if err := b.kv().Purge(t.Context(), keyOf(gone), jetstream.PurgeTTL(time.Second)); err != nil {
		t.Fatal(err)
	}
	s, err := b.conn.JS.Stream(t.Context(), contract.ViewStream)
	if err != nil {
		t.Fatal(err)
	}
	marked := false
	until(t, "the marker to expire", func() bool {
		_, err := s.GetLastMsgForSubject(t.Context(), "$KV."+contract.ViewBucket+"."+keyOf(gone))
		marked = marked || err == nil
		return errors.Is(err, jetstream.ErrMsgNotFound)
	})
	if !marked {
		t.Fatal("there was no marker that could expire")
	}
	b.beat(true)                         // so that the bucket's end is none that the watch does not bring
	passed.Store(int64(2 * time.Minute)) // longer than it goes on where it was; the marker's time is an hour
	line.Set(faultproxy.Pass)
	until(t, "the connection", far.IsConnected)
	until(t, "what is gone to go", func() bool { return f.Memory().Session(tenant, "gone") == nil })
	confirmed(t, f)
	if f.Memory().Session(tenant, "stays") == nil {
		t.Errorf("%v", f.Memory().Keys())
	}
}

// A watch may fall silent without an error, here because its consumer was
// deleted. It is seen, and the watch made again.
func TestFollowerOfASilentWatch(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.put(newView("before", 1, ofRuntime(1)))
	b.beat(true)
	f := b.follow()
	confirmed(t, f)
	s, err := b.conn.JS.Stream(t.Context(), contract.ViewStream)
	if err != nil {
		t.Fatal(err)
	}
	names := s.ConsumerNames(t.Context())
	n := 0
	for name := range names.Name() {
		if err := b.conn.JS.DeleteConsumer(t.Context(), contract.ViewStream, name); err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 1 || names.Err() != nil {
		t.Fatalf("%d consumers, %v", n, names.Err())
	}
	b.put(newView("after", 1, ofRuntime(2)))
	const promised = 5 * time.Second
	began := time.Now()
	confirmed(t, f)
	if took := time.Since(began); took > promised {
		t.Errorf("confirmed after %v", took)
	}
	if f.Memory().Session(tenant, "after") == nil {
		t.Errorf("%v", f.Memory().Keys())
	}
}

// What was written before a read index is in memory after it, for any number of
// writers and readers.
func TestReadIndexIsExact(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.beat(true)
	f := b.follow()
	confirmed(t, f)
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			store := views.NewStore(b.conn.JS, sealer(t, 'a'), 0)
			for i := range 25 {
				v := newView(fmt.Sprint(n), uint64(i), ofRuntime(n))
				p, err := store.Put(t.Context(), keyOf(v), source(v), time.Now())
				if err != nil {
					t.Error(err)
					return
				}
				if err := f.ReadIndex(t.Context()); err != nil {
					if sandbox.CodeOf(err) != sandbox.CodeUnavailable {
						t.Error(err)
					}
					continue // a busy machine
				}
				got := f.Memory().Key(keyOf(v))
				if got == nil || got.Order < uint64(i) || got.Revision < p.Revision {
					t.Errorf("order %d was written at %d, %+v is there", i, p.Revision, got)
				}
				if i%10 != 9 {
					continue
				}
				if ok, err := store.Delete(t.Context(), keyOf(v), p.Revision); !ok || err != nil {
					t.Errorf("delete: %v, %v", ok, err)
				}
				if f.ReadIndex(t.Context()) == nil {
					if got := f.Memory().Key(keyOf(v)); got != nil {
						t.Errorf("%+v is still there", got)
					}
				}
			}
		})
	}
	wg.Wait()
}

// On one gateway a view never goes back, and a sandbox that lives is never
// missed: not by writers that race, replies that come late, or a new watch.
func TestViewsNeverGoBack(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	first := b.put(newView("s", 0))
	b.beat(true)
	f := b.follow()
	confirmed(t, f)
	done := make(chan struct{})
	var reader, writers sync.WaitGroup
	reader.Go(func() {
		last := uint64(0)
		for {
			v := f.Memory().Session(tenant, "s")
			if v == nil {
				t.Error("it is missed")
				return
			}
			if v.Order < last {
				t.Errorf("order %d after %d", v.Order, last)
				return
			}
			last = v.Order
			select {
			case <-done:
				return
			default:
			}
		}
	})
	for n := range 3 {
		writers.Go(func() {
			store := views.NewStore(b.conn.JS, sealer(t, 'a'), 0)
			for i := range 60 {
				v := newView("s", uint64(3*i+n))
				p, err := store.Put(t.Context(), keyOf(v), source(v), time.Now())
				if err != nil {
					t.Error(err)
					return
				}
				f.Memory().Merge(p.View, p.Revision) // the reply
				f.Memory().Merge(first.View, first.Revision)
			}
		})
	}
	writers.Wait()
	confirmed(t, f)
	close(done)
	reader.Wait()
	if v := f.Memory().Session(tenant, "s"); v.Order != 179 {
		t.Errorf("ends with %+v", v)
	}
}

func TestFollowerEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.Stop()
	f := views.NewFollower(b.conn.JS, nil, zap.NewNop())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	unconfirmed(t, f)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Who gives up a read index is told so at once.
func TestReadIndexOfACanceledRequest(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	f := b.follow()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.ReadIndex(ctx); sandbox.CodeOf(err) != sandbox.CodeUnavailable || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
