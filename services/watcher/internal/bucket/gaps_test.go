package bucket_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/watcher/internal/testbed"
)

// A leader that takes over after ten hours without any tells the next one that
// these do not count, and keeps what it was told.
func TestTheTimeThatNobodyWatchedIsToldOn(t *testing.T) {
	t.Parallel()
	b := newBench(t, testbed.NewServer(t))
	if err := b.conn.EnsureViews(t.Context()); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	earlier := sandbox.Gap{From: now.Add(-20 * time.Hour), To: now.Add(-19 * time.Hour)}
	body, err := json.Marshal(contract.Heartbeat{Leader: "before", Time: now.Add(-10 * time.Hour), Gaps: []sandbox.Gap{earlier}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.conn.JS.Publish(t.Context(), "$KV."+contract.ViewBucket+"."+contract.HeartbeatKey, body); err != nil {
		t.Fatal(err)
	}
	b.start()
	testbed.Eventually(t, "both gaps in its heartbeat", func() bool {
		h, _ := b.beat()
		return h.Leader == "me" && len(h.Gaps) == 2 && h.Gaps[0] == earlier &&
			h.Gaps[1].From.Equal(now.Add(-10*time.Hour)) && !h.Gaps[1].To.Before(now)
	})
}

func TestAHandOverLeavesNoGap(t *testing.T) {
	t.Parallel()
	b := newBench(t, testbed.NewServer(t))
	b.start()
	testbed.Eventually(t, "its second heartbeat", func() bool { h, _ := b.beat(); return len(h.Gaps) == 1 }) // all before the first
	b.stop()
	next := newBench(t, b.srv)
	next.g.Identity = "next"
	next.start()
	testbed.Eventually(t, "the successor's heartbeats", func() bool { h, _ := b.beat(); return h.Leader == "next" })
	if h, _ := b.beat(); len(h.Gaps) != 1 || !h.Gaps[0].From.IsZero() {
		t.Errorf("%+v", h.Gaps)
	}
}
