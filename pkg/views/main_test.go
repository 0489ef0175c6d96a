package views_test

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/natsx/natstest"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come; the machine may be busy.
const patience = 30 * time.Second

// bus is an embedded NATS server with JetStream on disk, and a connection.
type bus struct {
	*natstest.Server
	t    *testing.T
	conn *natsx.Conn
}

func startBus(t *testing.T) *bus {
	t.Helper()
	b := &bus{Server: natstest.Start(t, server.Options{}), t: t}
	b.conn = b.connect(b.ClientURL())
	if err := b.conn.EnsureViews(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bus) connect(url string) *natsx.Conn {
	b.t.Helper()
	conn, err := natsx.Connect("test", natsx.Config{URL: url, Replicas: 1}, zap.NewNop())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(conn.Close)
	return conn
}

func sealer(t *testing.T, fill byte) *contract.Sealer {
	t.Helper()
	s, err := contract.NewSealer(base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(fill), 32))))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (b *bus) store() *views.Store {
	b.t.Helper()
	return views.NewStore(b.conn.JS, sealer(b.t, 'a'), 0)
}

// created is when the bucket was made.
func (b *bus) created() time.Time {
	b.t.Helper()
	s, err := b.conn.JS.Stream(b.t.Context(), contract.ViewStream)
	if err != nil {
		b.t.Fatal(err)
	}
	return s.CachedInfo().Created
}

// put writes a view as it is.
func (b *bus) put(v *sandbox.View) views.Present {
	b.t.Helper()
	p, err := b.store().Put(b.t.Context(), keyOf(v), source(v), time.Now())
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

// source is a view that is what Kubernetes holds now.
func source(v *sandbox.View) views.Source {
	return views.Source{
		Observe: func(*sandbox.View) sandbox.View { return *v.Clone() },
		Live:    func(context.Context) (bool, error) { return true, nil },
		Born:    v.CreatedAt,
	}
}

// beat says that the bucket that is there now is complete, or not.
func (b *bus) beat(complete bool) {
	b.t.Helper()
	h := contract.Heartbeat{Leader: "watcher-0", Time: time.Now().UTC(), Complete: complete, Created: b.created()}
	if err := b.store().Beat(b.t.Context(), h); err != nil {
		b.t.Fatal(err)
	}
}

// remake deletes the bucket and makes it again, empty.
func (b *bus) remake() {
	b.t.Helper()
	if err := b.conn.JS.DeleteStream(b.t.Context(), contract.ViewStream); err != nil {
		b.t.Fatal(err)
	}
	if err := natstest.Again(b.t.Context(), b.conn.EnsureViews); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bus) kv() jetstream.KeyValue {
	b.t.Helper()
	kv, err := b.conn.JS.KeyValue(b.t.Context(), contract.ViewBucket)
	if err != nil {
		b.t.Fatal(err)
	}
	return kv
}

// follow runs a follower until the test ends.
func (b *bus) follow() *views.Follower {
	b.t.Helper()
	f := b.follower(b.conn)
	b.run(f)
	return f
}

func (b *bus) follower(c *natsx.Conn) *views.Follower {
	return views.NewFollower(c.JS, sealer(b.t, 'a').Open, zap.NewNop())
}

func (b *bus) run(f *views.Follower) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	b.t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			b.t.Errorf("it ended with %v", err)
		}
	})
}

// until waits for a condition that nothing tells of.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited %v for: %s", patience, what)
		}
	}
}

// confirmed waits until a read index succeeds.
func confirmed(t *testing.T, f *views.Follower) {
	t.Helper()
	until(t, "a read index", func() bool { return f.ReadIndex(t.Context()) == nil })
}

// ofTenant lists a tenant's views, the oldest sandbox first.
func ofTenant(m *views.Memory, name string) (all []*views.Seen) {
	for _, s := range m.Shelves(name) {
		all = append(all, s.Seen...)
	}
	return all
}
