//go:build system

package system_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// wiped is how many sandboxes live while NATS loses its store; every third of
// them is paused.
const wiped = 24

// TestNATSEmptied: NATS is killed, its store removed, and it starts again under
// live sandboxes. Whoever asks meanwhile gets the truth or a 503, never a 404.
func TestNATSEmptied(t *testing.T) {
	t.Parallel()
	r := newRig(t, "wipe", stack.Options{Gateways: 2, Watchers: 2, Settings: []string{noPurge}})
	live := r.manyLive(t, wiped)
	r.waitDrained(t, r.bus(t, "provisioner"))
	before := r.podsOf(t, live)
	asked := r.ask(t, live)
	r.empty(t, asked)
	begin := time.Now()
	r.waitComplete(t, begin)
	r.events(t, func(all []event) bool { return len(all) >= wiped })
	restored := time.Since(begin)
	n, unavailable := asked.end(t)
	t.Logf("all views were back %s after NATS; %d answers meanwhile, %d of them 503", restored.Round(10*time.Millisecond), n, unavailable)
	for _, api := range r.apis() {
		for session, status := range live {
			waitStatus(t, api, session, status)
		}
	}
	if after := r.podsOf(t, live); !maps.Equal(before, after) {
		t.Errorf("the pods were touched:\nbefore %v\nafter  %v", before, after)
	}
	r.restoredOnce(t, live)
	r.running(t, "after-the-wipe")
}

// manyLive starts sandboxes and pauses every third: session → status.
func (r *rig) manyLive(t *testing.T, n int) map[string]string {
	t.Helper()
	live := map[string]string{}
	for i := range n {
		live[fmt.Sprintf("live-%d", i)] = "running"
		if i%3 == 0 {
			live[fmt.Sprintf("live-%d", i)] = "paused"
		}
	}
	sessions := slices.Sorted(maps.Keys(live))
	err := each(8, n, func(i int) error {
		_, err := r.bring(t, sessions[i], live[sessions[i]])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return live
}

// empty kills NATS, removes its store and starts it again; where there are
// readers, not before they were answered without it.
func (r *rig) empty(t *testing.T, asked *readers) {
	t.Helper()
	if err := r.Kill("nats"); err != nil {
		t.Fatal(err)
	}
	if err := r.WipeNATS(); err != nil {
		t.Fatal(err)
	}
	if asked != nil {
		enough := asked.count() + 10*wiped
		waitFor(t, "readers are answered without NATS", func(context.Context) (string, bool) {
			return fmt.Sprintf("%d of %d answers", asked.count(), enough), asked.count() >= enough
		})
	}
	if err := r.StartNATS(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// waitComplete waits until both gateways have followed the new bucket: their
// views are young again. The age grows while they have none.
func (r *rig) waitComplete(t *testing.T, since time.Time) {
	t.Helper()
	for _, svc := range r.Of("gateway") {
		waitFor(t, svc.Name+" follows the new bucket", func(ctx context.Context) (string, bool) {
			var state struct {
				Status string
				Views  struct {
					AgeMS int64 `json:"age_ms"`
				}
			}
			err := r.readiness(ctx, svc, &state)
			young := state.Views.AgeMS >= 0 && time.Duration(state.Views.AgeMS)*time.Millisecond < time.Since(since)
			return fmt.Sprintf("%+v %v", state, err), err == nil && state.Status == "ok" && young
		})
	}
}

// podsOf are the pods of the stack, once only those of running sandboxes are
// there: by name, UID and restarts.
func (r *rig) podsOf(t *testing.T, live map[string]string) map[string]string {
	t.Helper()
	want := 0
	for _, status := range live {
		if status == "running" {
			want++
		}
	}
	var found map[string]string
	waitFor(t, "only running sandboxes have pods", func(ctx context.Context) (string, bool) {
		pods, err := r.pods(ctx)
		found = map[string]string{}
		for _, of := range pods {
			for i := range of {
				found[of[i].Name] = fmt.Sprintf("%s, %d restarts", of[i].UID, restarts(&of[i]))
			}
		}
		return fmt.Sprintf("%d pods, want %d, %v", len(found), want, err), err == nil && len(found) == want
	})
	return found
}

func restarts(p *corev1.Pod) (n int32) {
	for _, c := range p.Status.ContainerStatuses {
		n += c.RestartCount
	}
	return n
}

// restoredOnce: each live sandbox has told that it was restored, and nothing else.
func (r *rig) restoredOnce(t *testing.T, live map[string]string) {
	t.Helper()
	all := r.events(t, func(all []event) bool { return len(all) >= len(live) })
	for session := range live {
		if got := typesOf(all, r.record(t, session).RuntimeID); !slices.Equal(got, []string{"restored"}) {
			t.Errorf("events of %s after the wipe: %q, want one, restored", session, got)
		}
	}
}
