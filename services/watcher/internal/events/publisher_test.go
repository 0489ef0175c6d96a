package events_test

import (
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/natsx/natstest"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/watcher/internal/events"
	"github.com/sandbar-io/sandbar/services/watcher/internal/meter"
	"github.com/sandbar-io/sandbar/services/watcher/internal/testbed"
)

func no() bool { return false }

func publisher(c *natsx.Conn) *events.Publisher {
	return events.New(c.JS, meter.New(prometheus.NewRegistry(), no, no), zap.NewNop())
}

// view carries transitions from..to.
func view(runtimeID string, from, to int64, at time.Time) *sandbox.View {
	v := &sandbox.View{Tenant: "acme", SessionID: "s", RuntimeID: runtimeID}
	for n := from; n <= to; n++ {
		typ := sandbox.EventReady
		if n%2 == 0 {
			typ = sandbox.EventUnready
		}
		v.Transitions = append(v.Transitions, sandbox.Transition{RuntimeID: runtimeID, Number: n, Type: typ, Time: at})
	}
	return v
}

func numbers(t *testing.T, c *natsx.Conn, runtimeID string) (out []int64) {
	t.Helper()
	for _, m := range testbed.Events(t, c, "acme") {
		d, err := contract.DecodeEvent(m.Data())
		if err != nil {
			t.Fatal(err)
		}
		if d.RuntimeID == runtimeID {
			out = append(out, d.Number)
		}
	}
	return out
}

func span(from, to int64) (out []int64) {
	for n := from; n <= to; n++ {
		out = append(out, n)
	}
	return out
}

func TestEachOnceAndInOrder(t *testing.T) {
	t.Parallel()
	c := testbed.NewServer(t).Ready()
	id, now := sandbox.NewRuntimeID(), time.Now()
	p := publisher(c)
	for _, to := range []int64{1, 1, 4, 4, 6} {
		if err := p.Publish(t.Context(), view(id, 1, to, now)); err != nil {
			t.Fatal(err)
		}
	}
	// A successor that knows nothing, and the old leader that does not know of it.
	if err := publisher(c).Publish(t.Context(), view(id, 1, 8, now)); err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(t.Context(), view(id, 3, 9, now)); err != nil {
		t.Fatal(err)
	}
	if got := numbers(t, c, id); !slices.Equal(got, span(1, 9)) {
		t.Errorf("events %v, want 1..9", got)
	}
	last := view(id, 9, 9, now).Transitions[0]
	if !p.Published("acme", last) || publisher(c).Published("acme", last) {
		t.Error("Published must say what this publisher knows, and no more")
	}
}

// A sandbox's first event is published without a question before it.
func TestTheFirstEventAsksForNothing(t *testing.T) {
	t.Parallel()
	c := testbed.NewServer(t).Ready()
	questions, err := c.SubscribeSync("$JS.API.>")
	if err != nil {
		t.Fatal(err)
	}
	id := sandbox.NewRuntimeID()
	restored := view(sandbox.NewRuntimeID(), 1_700_000_000, 1_700_000_000, time.Now())
	restored.Transitions[0].Type = sandbox.EventRestored
	p := publisher(c)
	for _, v := range []*sandbox.View{view(id, 1, 2, time.Now()), restored} {
		if err := p.Publish(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	if n, _, err := questions.Pending(); err != nil || n != 0 {
		t.Errorf("%d questions, %v", n, err)
	}
	if got := numbers(t, c, id); !slices.Equal(got, span(1, 2)) {
		t.Errorf("events %v, want 1 and 2", got)
	}
}

func TestTwoPublishersAtOnce(t *testing.T) {
	t.Parallel()
	c := testbed.NewServer(t).Ready()
	id := sandbox.NewRuntimeID()
	var wg sync.WaitGroup
	for range 4 {
		p := publisher(c)
		wg.Go(func() {
			for to := int64(1); to <= 40; to++ {
				if err := p.Publish(t.Context(), view(id, max(1, to-8), to, time.Now())); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := numbers(t, c, id); !slices.Equal(got, span(1, 40)) {
		t.Errorf("events %v, want 1..40", got)
	}
}

// Past the server's window of duplicates only the expected sequence stops a
// publisher that does not know of its successor.
func TestAnOldLeaderPastTheWindow(t *testing.T) {
	t.Parallel()
	c := testbed.NewServer(t).Ready()
	s, err := c.JS.Stream(t.Context(), contract.EventStream)
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.Duplicates = 100 * time.Millisecond
	if _, err := c.JS.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	id, now := sandbox.NewRuntimeID(), time.Now()
	old := publisher(c)
	if err := old.Publish(t.Context(), view(id, 1, 3, now)); err != nil {
		t.Fatal(err)
	}
	if err := publisher(c).Publish(t.Context(), view(id, 1, 5, now)); err != nil {
		t.Fatal(err)
	}
	testbed.Eventually(t, "the window passes", func() bool {
		ack, err := c.JS.Publish(t.Context(), contract.EventSubject("other", id, "ready"), nil, jetstream.WithMsgID(id+"/5"))
		return err == nil && !ack.Duplicate
	})
	if err := old.Publish(t.Context(), view(id, 1, 6, now)); err != nil {
		t.Fatal(err)
	}
	if got := numbers(t, c, id); !slices.Equal(got, span(1, 6)) {
		t.Errorf("events %v, want 1..6", got)
	}
}

func TestGapIsAnnounced(t *testing.T) {
	t.Parallel()
	c := testbed.NewServer(t).Ready()
	id, now := sandbox.NewRuntimeID(), time.Now()
	p := publisher(c)
	for _, v := range []*sandbox.View{view(id, 1, 2, now), view(id, 7, 8, now)} {
		if err := p.Publish(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	restored := view(id, 1_700_000_000, 1_700_000_000, now)
	restored.Transitions[0].Type = sandbox.EventRestored
	if err := p.Publish(t.Context(), restored); err != nil {
		t.Fatal(err)
	}
	var gaps []string
	for _, m := range testbed.Events(t, c, "acme") {
		gaps = append(gaps, m.Headers().Get(events.HeaderGap))
	}
	if want := []string{"", "", "4", "", ""}; !slices.Equal(gaps, want) {
		t.Errorf("gaps %q, want %q", gaps, want)
	}
}

func TestExpiredEventsAreNotPublishedAgain(t *testing.T) {
	t.Parallel()
	c := testbed.NewServer(t).Ready()
	id, other := sandbox.NewRuntimeID(), sandbox.NewRuntimeID()
	old := time.Now().Add(-8 * 24 * time.Hour)
	if err := publisher(c).Publish(t.Context(), view(id, 1, 3, old)); err != nil {
		t.Fatal(err)
	}
	if err := publisher(c).Publish(t.Context(), view(other, 1, 1, time.Now())); err != nil {
		t.Fatal(err)
	}
	expire(t, c, id)
	p := publisher(c)
	if err := p.Publish(t.Context(), view(id, 1, 3, old)); err != nil {
		t.Fatal(err)
	}
	v := view(id, 1, 4, old)
	v.Transitions[3].Time = time.Now()
	if err := p.Publish(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	if got := numbers(t, c, id); !slices.Equal(got, []int64{4}) {
		t.Errorf("events %v, want only 4", got)
	}
	for _, m := range testbed.Events(t, c, "acme") {
		if g := m.Headers().Get(events.HeaderGap); g != "" {
			t.Errorf("a gap of %s is announced where nothing was lost", g)
		}
	}
}

// expire takes a sandbox's events out of the front of the stream, as age does.
func expire(t *testing.T, c *natsx.Conn, runtimeID string) {
	t.Helper()
	s, err := c.JS.Stream(t.Context(), contract.EventStream)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(t.Context(), jetstream.WithPurgeSubject(contract.EventsOf("acme", runtimeID))); err != nil {
		t.Fatal(err)
	}
}

func TestRemadeStreamGetsWhatViewsStillCarry(t *testing.T) {
	t.Parallel()
	c := testbed.NewServer(t).Ready()
	id, now := sandbox.NewRuntimeID(), time.Now()
	p := publisher(c)
	if err := p.Publish(t.Context(), view(id, 1, 5, now)); err != nil {
		t.Fatal(err)
	}
	if err := c.JS.DeleteStream(t.Context(), contract.EventStream); err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(t.Context(), view(id, 1, 6, now)); err == nil {
		t.Fatal("published without a stream")
	}
	if err := natstest.Again(t.Context(), c.EnsureViews); err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(t.Context(), view(id, 1, 6, now)); err != nil {
		t.Fatal(err)
	}
	if got := numbers(t, c, id); !slices.Equal(got, span(1, 6)) {
		t.Errorf("events %v, want 1..6", got)
	}
}

func TestAnEarlierRuntimeIDComesFirst(t *testing.T) {
	t.Parallel()
	c := testbed.NewServer(t).Ready()
	before, after := sandbox.NewRuntimeID(), sandbox.NewRuntimeID()
	v := view(after, 1, 2, time.Now())
	v.Transitions = append(view(before, 1, 3, time.Now()).Transitions, v.Transitions...)
	if err := publisher(c).Publish(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range testbed.Events(t, c, "acme") {
		got = append(got, m.Headers().Get(contract.HeaderCEID))
	}
	var want []string
	for _, tr := range v.Transitions {
		want = append(want, tr.RuntimeID+"/"+strconv.FormatInt(tr.Number, 10))
	}
	if !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}
