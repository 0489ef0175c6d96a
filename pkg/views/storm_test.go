package views_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
)

// Connections that break again and again leave nothing behind on the server, no
// consumer and no subscription, and are not made again without a pause.
func TestReconnectsLeaveNothing(t *testing.T) {
	t.Parallel()
	const reconnects = 50
	b := startBus(t)
	b.put(newView("s", 1))
	b.beat(true)
	reader, err := natsx.Connect("gateway", natsx.Config{URL: b.ClientURL(), Replicas: 1}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reader.Close)
	if _, err := reader.Announce("gateway"); err != nil {
		t.Fatal(err)
	}
	f := views.NewFollower(reader.JS, sealer(t, 'a').Open, zap.NewNop())
	runUntilEnd(t, f)
	confirmed(t, f)
	consumers := func() int {
		s, err := b.conn.JS.Stream(t.Context(), contract.ViewStream)
		if err != nil {
			t.Fatal(err)
		}
		return s.CachedInfo().State.Consumers
	}
	had, subscribed := consumers(), b.NumSubscriptions()
	began := time.Now()
	for n := range uint64(reconnects) {
		id, err := reader.GetClientID()
		if err != nil {
			t.Fatal(err)
		}
		if err := b.DisconnectClientByID(id); err != nil {
			t.Fatal(err)
		}
		until(t, "a reconnection", func() bool { return reader.Stats().Reconnects > n && reader.IsConnected() })
	}
	if took := time.Since(began); took < reconnects*100*time.Millisecond {
		t.Errorf("%d reconnections in %s: there is no pause before them", reconnects, took)
	}
	b.put(newView("s", 2))
	confirmed(t, f)
	until(t, "the view of after it", func() bool { v := f.Memory().Session(tenant, "s"); return v != nil && v.Order == 2 })
	until(t, "no more consumers and subscriptions than before", func() bool {
		return consumers() <= had && b.NumSubscriptions() <= subscribed
	})
}

// A reader that cannot keep up, because it is held up by something, misses nothing
// in the end: more than the client library holds for it has come meanwhile.
func TestFollowerThatIsHeldUp(t *testing.T) {
	t.Parallel()
	const sandboxes, rounds = 200, 10 // 256 are what the watch holds
	b := startBus(t)
	b.put(newView("first", 1))
	b.beat(true)
	f, hold, release := b.heldUp(b.conn)
	hold()
	for round := range uint64(rounds) {
		for i := range sandboxes {
			b.put(newView(fmt.Sprint("s", i), round+1, ofRuntime(i)))
		}
	}
	if f.ReadIndex(t.Context()) == nil {
		t.Error("it confirms what it has not taken in")
	}
	release()
	confirmed(t, f)
	for i := range sandboxes {
		if v := f.Memory().Session(tenant, fmt.Sprint("s", i)); v == nil || v.Order != rounds {
			t.Fatalf("s%d is %+v", i, v)
		}
	}
}

// More bytes come while a reader is held up than its subscription may hold, each under
// a key of its own: its watch has flow control, so none is dropped.
func TestAFollowerThatIsHeldUpIsNotFlooded(t *testing.T) {
	t.Parallel()
	const each = 64 << 10
	const sandboxes = nats.DefaultSubPendingBytesLimit / each * 5 / 4
	b := startBus(t)
	b.put(newView("first", 1))
	b.beat(true)
	reader := b.connect(b.ClientURL())
	f, hold, release := b.heldUp(reader)
	hold()
	logs := strings.Repeat("x", each)
	for i := range sandboxes {
		v := newView(fmt.Sprint("s", i), 1, ofRuntime(i))
		v.PodLogs = logs
		body, err := contract.EncodeView(v)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.conn.JS.Publish(t.Context(), "$KV."+contract.ViewBucket+"."+keyOf(v), body); err != nil {
			t.Fatal(err)
		}
	}
	if f.ReadIndex(t.Context()) == nil {
		t.Error("it confirms what it has not taken in")
	}
	release()
	until(t, "the last view", func() bool { return f.Memory().Session(tenant, fmt.Sprint("s", sandboxes-1)) != nil })
	confirmed(t, f)
	for i := range sandboxes {
		if f.Memory().Session(tenant, fmt.Sprint("s", i)) == nil {
			t.Fatalf("s%d is missing", i)
		}
	}
	if err := reader.LastError(); err != nil {
		t.Error(err)
	}
}

// heldUp is a follower that has taken in what there is, and takes nothing more between
// hold and release.
func (b *bus) heldUp(conn *natsx.Conn) (f *views.Follower, hold, release func()) {
	b.t.Helper()
	var held atomic.Bool
	gate := make(chan struct{})
	f = views.NewFollower(conn.JS, func(*sandbox.View) error {
		if held.Load() {
			<-gate
		}
		return nil
	}, zap.NewNop())
	runUntilEnd(b.t, f)
	release = sync.OnceFunc(func() { held.Store(false); close(gate) })
	b.t.Cleanup(release) // before its end is waited for
	confirmed(b.t, f)
	return f, func() { held.Store(true) }, release
}

// runUntilEnd runs a follower until the test ends.
func runUntilEnd(t *testing.T, f *views.Follower) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = f.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}
