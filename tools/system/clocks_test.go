//go:build system

package system_test

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// TestClocksSurviveARestartOfEverything: what clocks go by stands in records and
// in NATS. A sandbox is paused by its age as if nothing had happened, and one
// that its client asked for before stays so.
func TestClocksSurviveARestartOfEverything(t *testing.T) {
	t.Parallel()
	const maxAge = 45 * time.Second
	r := newRig(t, "clocks", stack.Options{Gateways: 2, Watchers: 2, Settings: []string{
		"RUNTIME_MAX_SECONDS=45", "RUNTIME_UNCLAIMED_SECONDS=30", noPurge,
	}})
	young := body(t, "young")
	young["lifecycle"] = map[string]any{"max_age_seconds": 0}
	begin := time.Now()
	r.running(t, "old")
	if _, err := r.api(0).Start(t.Context(), young); err != nil {
		t.Fatal(err)
	}
	waitStatus(t, r.api(0), "young", "running") // its client asks for it, once and never again
	r.restartAll(t, unix.SIGKILL)
	if up := time.Since(begin); up > maxAge-5*time.Second {
		t.Fatalf("start and restart took %v, too long to tell anything", up)
	}
	restarted := time.Now()
	waitFor(t, "old is paused", func(ctx context.Context) (string, bool) {
		rt, err := r.api(1).Session(ctx, "old")
		if err != nil {
			return err.Error(), false
		}
		return rt.Status + ": " + rt.StatusDetail, rt.Status == "paused" && rt.StatusDetail == "it ran for 45s, the longest allowed"
	})
	age, since := time.Since(begin), time.Since(restarted)
	t.Logf("paused at the age of %v, %v after the restart", age.Round(100*time.Millisecond), since.Round(100*time.Millisecond))
	if age < maxAge {
		t.Errorf("paused at the age of %v, too early", age)
	}
	if since >= maxAge {
		t.Errorf("paused %v after the restart: its age began anew", since)
	}
	all, err := r.api(1).List(t.Context())
	if err != nil || all["young"].Status != "running" {
		t.Errorf("young is %+v, %v; want it running", all["young"], err)
	}
}
