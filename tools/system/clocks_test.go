//go:build system

package system_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

const (
	// apart is what lies between two moments that a clock could begin at, for 2
	// cores to tell them apart.
	apart = 5 * time.Second
	// lease is that of shortLease: a watcher that is new leads no sooner.
	lease = 5 * time.Second
)

// clock is a sandbox's, and what it makes of the sandbox.
type clock struct {
	session string
	since   time.Time // it began no sooner
	limit   time.Duration
	end     string // status and detail
}

// TestClocksSurviveARestartOfEverything: what clocks go by stands in records and
// in NATS. Everything is killed, NATS too; each clock ends as if nothing had
// happened, and what its client asked for before stays. The sandboxes are real,
// for only a real agent server says that it is idle; the test is parallel all the
// same, as it makes nothing fail on their node.
func TestClocksSurviveARestartOfEverything(t *testing.T) {
	t.Parallel()
	r := newRealRig(t, "clocks", stack.Options{Gateways: 2, Watchers: 2, Settings: []string{noPurge}})
	r.begin(t, "young", lifecycle("unclaimed_seconds", 20))
	r.begin(t, "rests", lifecycle("retention_seconds", 30))
	waitStatus(t, r.api(0), "young", "running") // its client asks for it, and never again
	rests := waitStatus(t, r.api(0), "rests", "running")
	r.begin(t, "used", lifecycle("idle_seconds", 25))
	used := waitStatus(t, r.api(0), "used", "running")

	// All clocks begin here, however long the sandboxes took to be ready.
	ready := time.Now()
	if _, err := r.api(0).Pause(t.Context(), rests.RuntimeID); err != nil {
		t.Fatal(err)
	}
	aged := time.Now()
	r.begin(t, "old", lifecycle("max_age_seconds", 30))
	waitUntil(t, ready.Add(apart)) // or to be used were the same as to be ready
	use := r.use(t, used)
	waitStatus(t, r.api(0), "old", "running")
	waitUntil(t, use.Add(apart))
	clocks := []clock{
		{"old", aged, 30 * time.Second, "paused: it ran for 30s, the longest allowed"},
		{"rests", ready, 30 * time.Second, "stopped: it was paused for 30s"},
		{"used", use, 25 * time.Second, "paused: it was idle for 25s"},
	}
	for _, c := range clocks {
		if ran := time.Since(c.since); ran >= c.limit {
			t.Fatalf("the clock of %s ran for %v before anything was killed, too long to tell anything", c.session, ran)
		}
	}
	r.endAll(t, unix.SIGKILL)
	if err := r.Kill("nats"); err != nil {
		t.Fatal(err)
	}
	if err := r.StartNATS(t.Context()); err != nil {
		t.Fatal(err)
	}
	anew := time.Now().Add(lease)
	r.startAll(t)
	r.keepTime(t, clocks, anew)
	all, err := r.api(1).List(t.Context())
	if err != nil || all["young"].Status != "running" {
		t.Errorf("young is %+v, %v; want it running", all["young"], err)
	}
}

// lifecycle sets one clock of a sandbox.
func lifecycle(name string, seconds int) func(map[string]any) {
	return func(b map[string]any) { b["lifecycle"] = map[string]any{name: seconds} }
}

// use sends one request to a sandbox past its agent server, so that routers alone
// know of it, and waits until NATS does.
func (r *rig) use(t *testing.T, rt client.Runtime) (at time.Time) {
	t.Helper()
	kv, err := r.bus(t, "watcher").KeyValue(t.Context(), contract.ActivityBucket)
	if err != nil {
		t.Fatal(err)
	}
	rec := r.record(t, rt.SessionID)
	told, err := kv.Watch(t.Context(), contract.ViewKey(rec.Tenant, rec.Name))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = told.Stop() }() // the test goes on without it
	at = time.Now()
	answer, err := client.Caller{Base: rt.ServiceURL("work-1"), HTTP: r.http}.Do(t.Context(), client.Request{Path: "/"})
	if err != nil || !answer.OK() {
		t.Fatal(answer, err)
	}
	waitFor(t, "NATS has the use of "+rt.SessionID, func(context.Context) (string, bool) {
		select {
		case e := <-told.Updates():
			if e == nil { // all that was there before has come
				return "nothing", false
			}
			var a contract.Activity
			err := json.Unmarshal(e.Value(), &a)
			return string(e.Value()), err == nil && a.RuntimeID == rt.RuntimeID && !a.Last.Before(at)
		default:
			return "nothing new", false
		}
	})
	return at
}

// keepTime waits until every clock has ended: not too early, and not as one would
// that began anew.
func (r *rig) keepTime(t *testing.T, clocks []clock, anew time.Time) {
	t.Helper()
	ends := map[string]time.Time{}
	waitFor(t, "all clocks end", func(ctx context.Context) (string, bool) {
		var seen []string
		for _, c := range clocks {
			rt, err := r.api(1).Session(ctx, c.session)
			is := rt.Status + ": " + rt.StatusDetail
			if _, ended := ends[c.session]; !ended && err == nil && is == c.end {
				ends[c.session] = time.Now()
			}
			seen = append(seen, fmt.Sprintf("%s is %s (%v)", c.session, is, err))
		}
		return strings.Join(seen, ", "), len(ends) == len(clocks)
	})
	for _, c := range clocks {
		after := ends[c.session].Sub(c.since)
		t.Logf("%s is %s; after %v", c.session, c.end, after.Round(100*time.Millisecond))
		if after < c.limit {
			t.Errorf("the clock of %s ended after %v, too early", c.session, after)
		}
		if since := ends[c.session].Sub(anew); since >= c.limit {
			t.Errorf("the clock of %s ended %v after the restart: it began anew", c.session, since)
		}
	}
}
