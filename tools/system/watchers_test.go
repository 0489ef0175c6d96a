//go:build system

package system_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// changed is how many sandboxes change while the leader dies.
const changed = 20

// The life of a sandbox that is paused and resumed once, as events tell it.
var wholeLife = []string{"requested", "starting", "ready", "paused", "resumed", "starting", "ready"}

// TestLeaderDies: the leading watcher is killed while sandboxes change. The other
// one goes on; no change is lost, every event comes once and in order.
func TestLeaderDies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, point string }{
		{"killed", ""},
		// The tenth: the first are those of a leader's first pass.
		{"after a view", "watcher/after-view-write:10"},
		{"after an event", "watcher/after-event:10"},
		{"after the events of a view", "watcher/after-events:10"},
	} {
		// One after the other: what they make at the same time is as much as two cores
		// bring up while a test waits for it.
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, "leader", stack.Options{Gateways: 2, Watchers: 2, Settings: []string{noPurge}})
			if c.point != "" {
				r.arm(t, "watcher", c.point)
			}
			leader := r.waitLeader(t)
			done := make(chan error, 1)
			go func() {
				done <- each(changed, changed, func(i int) error { return r.live(t.Context(), lifeOf(i), i) })
			}()
			r.loseLeader(t, leader, c.point)
			died := time.Now()
			next := r.waitLeader(t)
			t.Logf("%s led, %s leads %s later", leader, next, time.Since(died).Round(10*time.Millisecond))
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			r.sawAll(t)
		})
	}
}

func lifeOf(i int) string { return fmt.Sprintf("life-%d", i) }

// live leads one sandbox through its life; every third is stopped in the end.
func (r *rig) live(ctx context.Context, session string, i int) error {
	api := r.api(i % 2)
	rt, err := api.Start(ctx, map[string]any{"session_id": session, "image": bed.image, "command": "/agentstub"})
	if err != nil {
		return err
	}
	if _, err := untilStatus(ctx, api, session, "running"); err != nil {
		return err
	}
	if _, err := api.Pause(ctx, rt.RuntimeID); err != nil {
		return err
	}
	if _, err := api.Resume(ctx, rt.RuntimeID); err != nil {
		return err
	}
	if _, err := untilStatus(ctx, api, session, "running"); err != nil || i%3 != 0 {
		return err
	}
	return api.Stop(ctx, rt.RuntimeID)
}

// loseLeader kills the leader once half of the sandboxes are accepted, or waits
// until its failpoint has.
func (r *rig) loseLeader(t *testing.T, leader, point string) {
	t.Helper()
	if point == "" {
		waitFor(t, "half of the sandboxes are there", func(ctx context.Context) (string, bool) {
			listed, err := r.api(1).List(ctx)
			if err != nil {
				return err.Error(), false
			}
			return fmt.Sprintf("%d sandboxes", len(listed)), len(listed) >= changed/2
		})
		if err := r.Kill(leader); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, leader+" dies", func(context.Context) (string, bool) {
		return fmt.Sprintf("dead are %q", r.dead("watcher")), slices.Contains(r.dead("watcher"), leader)
	})
}

// sawAll looks whether both gateways show the end of every life, and the event
// stream all of it.
func (r *rig) sawAll(t *testing.T) {
	t.Helper()
	ids := map[string]bool{} // runtime id → stopped
	for i := range changed {
		session, want := lifeOf(i), "running"
		if i%3 == 0 {
			want = "stopped"
		}
		for _, api := range r.apis() {
			if want == "stopped" {
				rec := r.record(t, session)
				waitFor(t, session+" is stopped on "+api.Base, func(ctx context.Context) (string, bool) {
					rt, err := api.Runtime(ctx, rec.RuntimeID)
					if err != nil && client.StatusOf(err) != http.StatusServiceUnavailable {
						t.Fatal(err)
					}
					return fmt.Sprintf("%+v %v", rt, err), rt.Status == want
				})
				ids[rec.RuntimeID] = true
				continue
			}
			ids[waitStatus(t, api, session, want).RuntimeID] = false
		}
	}
	all := r.events(t, func(all []event) bool {
		for id, stopped := range ids {
			if len(typesOf(all, id)) < len(wholeLife) || stopped && !slices.Contains(typesOf(all, id), "stopped") {
				return false
			}
		}
		return true
	})
	if err := inOrder(all); err != nil {
		t.Error(err)
	}
	for id, stopped := range ids {
		want := slices.Clone(wholeLife)
		if stopped {
			want = append(want, "stopped")
		}
		if got := typesOf(all, id); !slices.Equal(got, want) {
			t.Errorf("events of %s: %q, want %q", id, got, want)
		}
	}
}

// waitLeader waits until one watcher leads, and all gateways hear from it.
func (r *rig) waitLeader(t *testing.T) (name string) {
	t.Helper()
	waitFor(t, "a watcher leads", func(ctx context.Context) (string, bool) {
		name = ""
		identity := ""
		for _, svc := range r.Of("watcher") {
			var state struct {
				Role, Leader string
				Complete     bool `json:"views_complete"`
			}
			if r.readiness(ctx, svc, &state) == nil && state.Role == "leader" && state.Complete {
				name, identity = svc.Name, state.Leader
			}
		}
		if name == "" {
			return "none of the watchers leads", false
		}
		for _, svc := range r.Of("gateway") {
			var state struct{ Views struct{ Leader string } }
			if err := r.readiness(ctx, svc, &state); err != nil || state.Views.Leader != identity {
				return fmt.Sprintf("%s hears of %q, want %q (%v)", svc.Name, state.Views.Leader, identity, err), false
			}
		}
		return "", true
	})
	return name
}

// readiness reads what an instance says of itself, ready or not.
func (r *rig) readiness(ctx context.Context, svc *stack.Service, into any) error {
	answer, err := client.Caller{Base: svc.Health, HTTP: http.DefaultClient}.Do(ctx, client.Request{Path: "/readiness"})
	if err != nil {
		return err
	}
	return json.Unmarshal(answer.Body, into)
}
