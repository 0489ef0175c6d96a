package natsx_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/natsx/natstest"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

func stream(t *testing.T, c *natsx.Conn, name string) *jetstream.StreamInfo {
	t.Helper()
	s, err := c.JS.Stream(t.Context(), name)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return s.CachedInfo()
}

var all = []string{contract.CommandStream, contract.DeadStream, contract.ViewStream, contract.ActivityStream, contract.EventStream}

// Every service may ensure its streams at each start, all at once, without
// changing anything.
func TestEnsureIsIdempotent(t *testing.T) {
	t.Parallel()
	s := startServer(t, server.Options{})
	c := connect(t, s.ClientURL())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := c.EnsureViews(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	// One after the other: nats-server 2.15.2 itself has a data race between the
	// update of a stream and the making of a consumer, which -race would tell of.
	for range 2 {
		if _, err := c.EnsureCommands(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	before := map[string]*jetstream.StreamInfo{}
	for _, name := range all {
		before[name] = stream(t, c, name)
	}
	subject := contract.CommandSubject(sandbox.Start, "acme", sandbox.RecordName("acme", "s"))
	ack, err := c.JS.Publish(t.Context(), subject, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.EnsureViews(t.Context()); err != nil {
		t.Fatal(err)
	}
	cons, err := c.EnsureCommands(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		after := stream(t, c, name)
		if !after.Created.Equal(before[name].Created) || after.Config.FirstSeq != before[name].Config.FirstSeq {
			t.Errorf("%s was made again", name)
		}
	}
	m, err := cons.Next(jetstream.FetchMaxWait(patience))
	if err != nil {
		t.Fatal(err)
	}
	if meta, err := m.Metadata(); err != nil || meta.Sequence.Stream != ack.Sequence {
		t.Errorf("%+v, %v", meta, err)
	}
	if err := m.DoubleAck(t.Context()); err != nil {
		t.Error(err)
	}
	if n := stream(t, c, contract.CommandStream).State.Msgs; n != 0 {
		t.Errorf("%d messages stay in the queue", n)
	}
}

func TestStreamsHaveTheirForm(t *testing.T) {
	t.Parallel()
	s := startServer(t, server.Options{})
	c := connect(t, s.ClientURL())
	// An older version made one of them otherwise.
	_, err := c.JS.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: contract.ViewStream, Subjects: []string{"$KV." + contract.ViewBucket + ".>"}, MaxMsgsPerSubject: 1, AllowDirect: true, MaxAge: time.Hour, AllowMsgTTL: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	cons, err := c.EnsureCommands(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.EnsureViews(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		cfg := stream(t, c, name).Config
		if cfg.Storage != jetstream.FileStorage || cfg.Replicas != 1 || cfg.AllowDirect || cfg.MaxMsgSize <= 0 {
			t.Errorf("%s: %+v", name, cfg)
		}
		if name == contract.ViewStream && cfg.MaxAge != 0 {
			t.Errorf("views age: %v", cfg.MaxAge)
		}
	}
	queue := stream(t, c, contract.CommandStream).Config
	if queue.Retention != jetstream.WorkQueuePolicy || queue.Discard != jetstream.DiscardNew || queue.MaxAge != time.Hour || queue.MaxMsgs <= 0 {
		t.Errorf("%+v", queue)
	}
	cfg := cons.CachedInfo().Config
	if cfg.MaxDeliver != -1 || cfg.AckWait != natsx.AckWait || cfg.AckPolicy != jetstream.AckExplicitPolicy {
		t.Errorf("%+v", cfg)
	}
	for _, bucket := range []string{contract.ViewBucket, contract.ActivityBucket} {
		kv, err := c.JS.KeyValue(t.Context(), bucket)
		if err != nil {
			t.Fatal(err)
		}
		stale, err := kv.Create(t.Context(), "a.b", []byte("w"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Update(t.Context(), "a.b", []byte("x"), stale); err != nil {
			t.Error(err)
		}
		if e, err := kv.Get(t.Context(), "a.b"); err != nil || string(e.Value()) != "x" {
			t.Errorf("%+v, %v", e, err)
		}
		if _, err := kv.Update(t.Context(), "a.b", []byte("y"), stale); !errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			t.Errorf("a stale update: %v", err)
		}
		if err := kv.Purge(t.Context(), "a.b", jetstream.PurgeTTL(time.Hour)); err != nil {
			t.Errorf("a deletion with an end: %v", err)
		}
	}
}

// Sequences never repeat, not even after all was lost: a fence or a revision
// from before never fits.
func TestSequencesRiseOverAWipe(t *testing.T) {
	t.Parallel()
	s := startServer(t, server.Options{})
	c := connect(t, s.ClientURL())
	last := map[string]uint64{}
	began := uint64(time.Now().Add(-time.Minute).UnixMicro())
	ensure := func(ctx context.Context) error {
		_, err := c.EnsureCommands(ctx)
		return errors.Join(err, c.EnsureViews(ctx))
	}
	for range 3 {
		if err := natstest.Again(t.Context(), ensure); err != nil {
			t.Fatal(err)
		}
		for name, subject := range map[string]string{
			contract.CommandStream:  contract.CommandSubject(sandbox.Start, "acme", sandbox.RecordName("acme", "s")),
			contract.DeadStream:     contract.DeadLetterSubject(sandbox.Start, "acme", sandbox.RecordName("acme", "s")),
			contract.EventStream:    contract.EventSubject("acme", "abcdefghijklmnop", sandbox.EventReady),
			contract.ViewStream:     "$KV." + contract.ViewBucket + ".a.b",
			contract.ActivityStream: "$KV." + contract.ActivityBucket + ".a.b",
		} {
			for range 5 {
				ack, err := c.JS.Publish(t.Context(), subject, []byte("x"))
				if err != nil {
					t.Fatal(err)
				}
				if ack.Stream != name || ack.Sequence <= last[name] || ack.Sequence < began {
					t.Errorf("%s: sequence %d after %d", ack.Stream, ack.Sequence, last[name])
				}
				last[name] = ack.Sequence
			}
			if err := c.JS.DeleteStream(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A command that is published twice with one id is one.
func TestCommandsAreDeduplicated(t *testing.T) {
	t.Parallel()
	s := startServer(t, server.Options{})
	c := connect(t, s.ClientURL())
	if _, err := c.EnsureCommands(t.Context()); err != nil {
		t.Fatal(err)
	}
	m := nats.NewMsg(contract.CommandSubject(sandbox.Start, "acme", sandbox.RecordName("acme", "s")))
	m.Header.Set(nats.MsgIdHdr, "id")
	for i := range 2 {
		ack, err := c.JS.PublishMsg(t.Context(), m)
		if err != nil || ack.Duplicate != (i == 1) {
			t.Errorf("%+v, %v", ack, err)
		}
	}
}

func TestEnsureWithoutServer(t *testing.T) {
	t.Parallel()
	s := startServer(t, server.Options{})
	c := connect(t, s.ClientURL())
	s.Shutdown()
	s.WaitForShutdown()
	if _, err := c.EnsureCommands(t.Context()); err == nil {
		t.Error("commands are ensured")
	}
	if err := c.EnsureViews(t.Context()); err == nil {
		t.Error("views are ensured")
	}
}
