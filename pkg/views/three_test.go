package views_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/natsx/natstest"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
)

// TestPutConcurrentlyOnThree: writers of one key at three servers, whose bucket's
// leader steps down again and again. A replicated bucket says “wrong last sequence”
// also of what is still under way, and some answers are lost. A write that fails is
// repeated, as a command that fails is; none is lost, and no transition is told
// twice or left out.
func TestPutConcurrentlyOnThree(t *testing.T) {
	t.Parallel()
	servers, url := natstest.Three(t)
	connect := func(url string) *natsx.Conn {
		c, err := natsx.Connect("test", natsx.Config{URL: url, Replicas: 3}, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	conn := connect(url)
	until(t, "the replicated bucket", func() bool { return conn.EnsureViews(t.Context()) == nil })
	statuses := []sandbox.Status{sandbox.StatusStarting, sandbox.StatusRunning, sandbox.StatusError}
	const each = 40
	var mu sync.Mutex
	var told []sandbox.Transition
	failed := map[string]int{}
	var wg sync.WaitGroup
	moved := make(chan struct{})
	for n := range servers {
		store := views.NewStore(connect(servers[n].ClientURL()).JS, sealer(t, 'a'), 0)
		wg.Go(func() {
			for i := range each {
				if i == each/2 {
					<-moved // or they are all written before the leader changes
				}
				order := uint64(len(servers)*i + n)
				v := young("s", order, status(statuses[order%3]))
				v.CreatedAt = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
				var p views.Present
				for {
					var err error
					if p, err = store.Put(t.Context(), keyOf(v), source(v), time.Now()); err == nil {
						break
					}
					mu.Lock()
					failed[err.Error()]++
					mu.Unlock()
					if t.Context().Err() != nil {
						return
					}
				}
				mu.Lock()
				for _, tr := range p.View.Transitions {
					if !slices.Contains(told, tr) {
						told = append(told, tr)
					}
				}
				mu.Unlock()
			}
		})
	}
	written := make(chan struct{})
	go func() { wg.Wait(); close(written) }()
	changes := stepDown(t, conn, written, moved)
	t.Logf("the leader changed %d times; writes failed of %v", changes, failed)
	if changes == 0 {
		t.Error("the leader never changed")
	}
	var p views.Present
	until(t, "the bucket", func() bool {
		var err error
		p, err = views.NewStore(conn.JS, sealer(t, 'a'), 0).Read(t.Context(), keyOf(newView("s", 0)))
		return err == nil
	})
	if p.View == nil || p.View.Order != uint64(len(servers)*each-1) {
		t.Fatalf("the bucket ends with %+v", p.View)
	}
	slices.SortFunc(told, func(a, b sandbox.Transition) int { return int(a.Number - b.Number) })
	for i, tr := range told {
		if i > 0 && (tr.Number != told[i-1].Number+1 || tr.Type == told[i-1].Type) {
			t.Errorf("after %+v comes %+v", told[i-1], tr)
		}
	}
	if last := p.View.Transitions[len(p.View.Transitions)-1]; len(told) == 0 || last != told[len(told)-1] {
		t.Errorf("the last is %+v of %+v", last, told)
	}
}

// stepDown lets the bucket's leader step down until all is written, and counts; moved
// is closed at the first time.
func stepDown(t *testing.T, c *natsx.Conn, written <-chan struct{}, moved chan<- struct{}) (changes int) {
	t.Helper()
	for led := ""; ; {
		select {
		case <-written:
			return changes
		case <-time.After(100 * time.Millisecond):
		}
		s, err := c.JS.Stream(t.Context(), contract.ViewStream)
		if err != nil || s.CachedInfo().Cluster == nil || s.CachedInfo().Cluster.Leader == "" {
			continue
		}
		if now := s.CachedInfo().Cluster.Leader; led != now {
			if led != "" {
				if changes++; changes == 1 {
					close(moved)
				}
			}
			led = now
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err = c.RequestWithContext(ctx, "$JS.API.STREAM.LEADER.STEPDOWN."+contract.ViewStream, nil)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, jetstream.ErrNoStreamResponse) {
			t.Logf("stepping down: %v", err)
		}
	}
}
