//go:build apiserver && failpoints

package walk_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/run"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/watcher"
	"github.com/sandbar-io/sandbar/services/watcher/internal/testbed"
)

// childVar makes the test's own binary a watcher, so that it can be killed.
const childVar = "SANDBAR_TEST_WATCHER"

// atOnce is how many journeys are under way: they wait most of their time, for
// leases and for drift to last.
const atOnce = "8"

func TestMain(m *testing.M) {
	if os.Getenv(childVar) != "" {
		os.Exit(run.Main("watcher", os.Environ(), os.Stderr, watcher.Run))
	}
	if err := flag.Set("test.parallel", atOnce); err != nil {
		panic(err)
	}
	// Idle connections to the API server stay in client-go's cache.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("golang.org/x/net/http2.(*ClientConn).readLoop"))
}

var points = []string{
	"natsx/after-stream", "natsx/after-stream:2", "natsx/after-stream:3", "watcher/after-lease", "watcher/after-heartbeat", "watcher/before-complete",
	"watcher/after-view-write", "watcher/after-event", "watcher/after-events", "watcher/after-command",
	"watcher/after-end", "watcher/before-key-delete", "watcher/after-key-delete",
}

// noAnswer are the points at which no answer can be lost.
var noAnswer = []string{"watcher/before-complete", "watcher/after-events", "watcher/before-key-delete"}

// notAgain are the points that nobody comes to a second time: whoever goes on finds
// it done.
var notAgain = []string{"watcher/after-command", "watcher/after-end", "watcher/after-key-delete"}

// pairsVar makes the walk one of pairs.
const pairsVar = "SANDBAR_WALK_PAIRS"

// TestEveryPointIsWalked: two watchers; at each point the first that comes there
// dies, or its call hangs, or its answer is lost; with SANDBAR_WALK_PAIRS, one dies
// at each of two points. What died is started again.
func TestEveryPointIsWalked(t *testing.T) {
	t.Parallel()
	for i, point := range points {
		if os.Getenv(pairsVar) != "" {
			for _, second := range points[i:] {
				if second == point && slices.Contains(notAgain, point) {
					continue
				}
				t.Run(point+" and "+second, func(t *testing.T) { t.Parallel(); journey(t, point, second) })
			}
			continue
		}
		for _, what := range []string{"crash", "hang", "error"} {
			if what == "error" && slices.Contains(noAnswer, point) {
				continue
			}
			t.Run(point+"="+what, func(t *testing.T) { t.Parallel(); journey(t, point+"="+what) })
		}
	}
}

// journey takes three sandboxes through their lives.
func journey(t *testing.T, faults ...string) {
	s := newStage(t, faults)
	s.bucket()
	lives, goes, bare := s.k8s.Start("lives"), s.k8s.Start("goes"), s.k8s.Start("bare")
	pod := s.k8s.MakePod(lives)
	s.eventually(goes, sandbox.StatusStarting)
	s.k8s.SetReady(pod, true)
	s.eventually(lives, sandbox.StatusRunning)
	s.k8s.Purge(goes)
	lives = s.k8s.Change(lives, func(n *sandbox.Record) { n.Desired = sandbox.Paused })
	s.k8s.RemovePod(pod)
	s.eventually(lives, sandbox.StatusPaused)
	testbed.Eventually(t, "a reconcile is asked for", func() bool { return s.asked(bare) })
	s.k8s.SetReady(s.k8s.MakePod(bare), true)
	s.eventually(bare, sandbox.StatusRunning)
	testbed.Eventually(t, "the key of what went goes", func() bool {
		p, err := s.store.Read(t.Context(), testbed.Key(goes))
		return err == nil && p.View == nil
	})
	testbed.Eventually(t, "the faults have come, and the bucket is complete", func() bool { return s.hits() == len(faults) && s.complete() })
	s.settled()
	s.wantEvents(lives, sandbox.EventRequested, sandbox.EventStarting, sandbox.EventReady, sandbox.EventPaused)
	s.wantEvents(goes, sandbox.EventRequested, sandbox.EventStopped)
	s.wantEvents(bare, sandbox.EventRequested, sandbox.EventStarting, sandbox.EventReady)
	s.eventually(lives, sandbox.StatusPaused)
	s.eventually(bare, sandbox.StatusRunning)
}

// asked reports whether a watcher's command is in the queue that makes the pod.
func (s *stage) asked(r *sandbox.Record) bool {
	stream, err := s.conn.JS.Stream(s.t.Context(), contract.CommandStream)
	if err != nil {
		return false
	}
	m, err := stream.GetLastMsgForSubject(s.t.Context(), contract.CommandSubject(sandbox.Reconcile, r.Tenant, r.Name))
	if err != nil {
		return false
	}
	c, err := contract.DecodeCommand(m.Subject, m.Data)
	if err != nil || c.Generation != r.Generation || c.RecordUID != r.UID {
		s.t.Errorf("%+v, %v is asked for, the record is %+v", c, err, r)
	}
	return err == nil
}

// wantEvents wants a sandbox's events, each once and in order.
func (s *stage) wantEvents(r *sandbox.Record, want ...sandbox.EventType) {
	s.t.Helper()
	var got []string
	for _, m := range testbed.Events(s.t, s.conn, r.Tenant) {
		d, err := contract.DecodeEvent(m.Data())
		if err != nil {
			s.t.Fatal(err)
		}
		if d.RuntimeID == r.RuntimeID {
			got = append(got, fmt.Sprint(d.Number, d.Type))
		}
	}
	var all []string
	for i, e := range want {
		all = append(all, fmt.Sprint(i+1, e))
	}
	if strings.Join(got, " ") != strings.Join(all, " ") {
		s.t.Errorf("events of %s: %v, want %v", r.SessionID, got, all)
	}
}
