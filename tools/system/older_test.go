//go:build system

package system_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// TestAnOlderStoreComesBack: NATS is restored from a copy that is older than what
// was done since. Commands work at once, all gateways show what Kubernetes holds,
// and no event has a number that another had.
func TestAnOlderStoreComesBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, "older", stack.Options{Gateways: 2, Provisioners: 2, Watchers: 2, Settings: []string{noPurge}})
	for _, session := range []string{"stays", "paused-since", "resumed-since", "stopped-since"} {
		r.running(t, session)
	}
	if _, err := r.api(0).Pause(t.Context(), r.record(t, "resumed-since").RuntimeID); err != nil {
		t.Fatal(err)
	}
	r.waitDrained(t, r.bus(t, "provisioner"))
	older, store := filepath.Join(r.Dir, "older"), r.NATSStore("nats")
	r.whileAway(t, func() error { return os.CopyFS(older, os.DirFS(store)) })
	r.goOn(t)
	live := map[string]string{"stays": "running", "paused-since": "paused", "resumed-since": "running", "new-since": "running"}
	for session, status := range live {
		waitStatus(t, r.api(0), session, status)
	}
	before, pods := numbers(r.events(t, func(all []event) bool { return len(all) > 0 })), r.podsOf(t, live)
	readers := r.ask(t, map[string]string{"stays": "running", "resumed-since": "running", "new-since": "running"})
	r.whileAway(t, func() error { return errors.Join(os.RemoveAll(store), os.Rename(older, store)) })
	back := time.Now()
	r.worksAtOnce(t)
	for _, api := range r.apis() {
		for session, status := range live {
			waitStatus(t, api, session, status)
		}
		waitEnded(t, api, "stopped-since")
	}
	r.waitComplete(t, back)
	took := time.Since(back)
	t.Logf("all was right on both gateways %s after NATS was back", took.Round(10*time.Millisecond))
	if took > time.Minute {
		t.Error("that is longer than a resync")
	}
	answers, unavailable := readers.end(t)
	t.Logf("%d of %d answers were 503", unavailable, answers)
	live["again"] = "running"
	after := r.podsOf(t, live)
	maps.DeleteFunc(after, func(name, _ string) bool { return pods[name] == "" }) // of what was started since
	if !maps.Equal(pods, after) {
		t.Errorf("the pods were touched:\nbefore %v\nafter  %v", pods, after)
	}
	r.noNumberTwice(t, before, live)
}

// whileAway does something while NATS is away.
func (r *rig) whileAway(t *testing.T, do func() error) {
	t.Helper()
	if err := r.Kill("nats"); err != nil {
		t.Fatal(err)
	}
	if err := do(); err != nil {
		t.Fatal(err)
	}
	if err := r.StartNATS(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// goOn changes everything but one sandbox.
func (r *rig) goOn(t *testing.T) {
	t.Helper()
	waitFor(t, "starts are accepted", func(ctx context.Context) (string, bool) {
		_, err := r.api(0).Start(ctx, body(t, "new-since"))
		return errorText(err), err == nil
	})
	id := func(session string) string { return r.record(t, session).RuntimeID }
	pause := func(session string) {
		r.accepted(t, "a pause", func(ctx context.Context) error { _, err := r.api(0).Pause(ctx, id(session)); return err })
	}
	resume := func(session string) {
		r.accepted(t, "a resume", func(ctx context.Context) error { _, err := r.api(1).Resume(ctx, id(session)); return err })
	}
	for range 3 { // so that fences are well above what the copy knows
		pause("paused-since")
		resume("paused-since")
	}
	pause("paused-since")
	resume("resumed-since")
	r.accepted(t, "a stop", func(ctx context.Context) error { return r.api(0).Stop(ctx, id("stopped-since")) })
	for session, status := range map[string]string{"new-since": "running", "resumed-since": "running"} {
		waitStatus(t, r.api(0), session, status)
	}
}

// worksAtOnce: no change is refused as overtaken, and each is accepted soon; the
// records' fences are above the older stream's end. A pause that comes first may
// be told that nothing was done, or that it is not known.
func (r *rig) worksAtOnce(t *testing.T) {
	t.Helper()
	id := r.record(t, "paused-since").RuntimeID
	for name, do := range map[string]func(context.Context) error{
		"start": func(ctx context.Context) error { _, err := r.api(1).Start(ctx, body(t, "again")); return err },
		"resume": func(ctx context.Context) error {
			_, err := r.api(0).Resume(ctx, id)
			if err == nil {
				_, err = r.api(1).Pause(ctx, id)
			}
			return err
		},
	} {
		r.accepted(t, name, do)
	}
}

// accepted makes a change, again where the answer is that nothing was done or that
// it is not known. No other refusal will do.
func (r *rig) accepted(t *testing.T, name string, do func(context.Context) error) {
	t.Helper()
	waitFor(t, name+" is accepted", func(ctx context.Context) (string, bool) {
		err := do(ctx)
		if status := client.StatusOf(err); err != nil && status != 503 && status != 504 {
			t.Fatalf("%s: %v", name, err)
		}
		return errorText(err), err == nil
	})
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// numbers are the ids of events, with what they were about.
func numbers(all []event) map[string]string {
	ids := map[string]string{}
	for _, e := range all {
		ids[e.ID] = e.Type
	}
	return ids
}

// noNumberTwice: each sandbox that lives has told that it was restored; the
// numbers of each rise, and none is of an event that a subscriber had before the
// restore under the same number.
func (r *rig) noNumberTwice(t *testing.T, before, live map[string]string) {
	t.Helper()
	all := r.events(t, func(all []event) bool {
		restored := map[string]bool{}
		for _, e := range all {
			if e.Type == "restored" {
				restored[e.Subject] = true
			}
		}
		return len(restored) >= len(live)-1 // all but the one that was started after it
	})
	last := map[string]int64{}
	for _, e := range all {
		if was, told := before[e.ID]; told && was != e.Type {
			t.Errorf("%s was %s and is %s", e.ID, was, e.Type)
		}
		if e.Data.Number <= last[e.Subject] {
			t.Errorf("%s comes after number %d", e.ID, last[e.Subject])
		}
		last[e.Subject] = e.Data.Number
	}
}
