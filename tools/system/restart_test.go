//go:build system

package system_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// TestAllServicesRestart: all services end at once, gently and not, and come
// back. Sandboxes stay as they are; a resume after it makes what was asked for at
// the start.
func TestAllServicesRestart(t *testing.T) {
	t.Parallel()
	r := newRig(t, "restart", stack.Options{Gateways: 2, Provisioners: 2, Watchers: 2, Settings: []string{noPurge}})
	live := r.manyLive(t, 6)
	asked := map[string]corev1.Pod{}
	for session, status := range live {
		if status == "running" {
			asked[session] = r.onePod(t, r.record(t, session).RuntimeID)
		}
	}
	for _, c := range []struct {
		name   string
		signal unix.Signal
	}{{"SIGTERM", unix.SIGTERM}, {"SIGKILL", unix.SIGKILL}} {
		before, events := r.podsOf(t, live), len(r.events(t, func([]event) bool { return true }))
		begin := time.Now()
		r.restartAll(t, c.signal)
		t.Logf("%s: all services were ready again after %s", c.name, time.Since(begin).Round(10*time.Millisecond))
		for _, api := range r.apis() {
			for session, status := range live {
				rt, err := api.Session(t.Context(), session)
				if err != nil || rt.Status != status {
					t.Errorf("%s after %s on %s: %+v %v, want %s", session, c.name, api.Base, rt, err, status)
				}
			}
		}
		r.waitLeader(t)
		if after := r.podsOf(t, live); !maps.Equal(before, after) {
			t.Errorf("%s touched the pods:\nbefore %v\nafter  %v", c.name, before, after)
		}
		if n := len(r.events(t, func([]event) bool { return true })); n != events {
			t.Errorf("%s brought %d events for sandboxes that did not change", c.name, n-events)
		}
	}
	for session, pod := range asked {
		r.sameAgain(t, session, pod)
	}
}

// restartAll ends every service at the same time, then starts all.
func (r *rig) restartAll(t *testing.T, signal unix.Signal) {
	t.Helper()
	r.endAll(t, signal)
	r.startAll(t)
}

func (r *rig) endAll(t *testing.T, signal unix.Signal) {
	t.Helper()
	names := r.Names()
	for _, name := range names {
		if err := r.Signal(name, signal); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names {
		if err := r.waitEnded(t, name); err != nil {
			t.Fatal(err)
		}
	}
}

// startAll starts every service and waits until all are ready.
func (r *rig) startAll(t *testing.T) {
	t.Helper()
	for _, name := range r.Names() {
		if err := r.StartService(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// sameAgain pauses and resumes a sandbox and compares its new pod with the one of
// its start.
func (r *rig) sameAgain(t *testing.T, session string, before corev1.Pod) {
	t.Helper()
	id := r.record(t, session).RuntimeID
	if _, err := r.api(0).Pause(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	r.waitHas(t, id, "volume")
	if _, err := r.api(1).Resume(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	waitStatus(t, r.api(0), session, "running")
	after := r.onePod(t, id)
	if after.UID == before.UID {
		t.Fatalf("%s has the pod of before its pause", session)
	}
	// The scheduler's choice and the session key's number are of each pod's own.
	for _, p := range []*corev1.Pod{&before, &after} {
		p.Spec.NodeName = ""
		delete(p.Labels, kube.LabelGeneration)
		delete(p.Labels, kube.LabelIncarnation)
	}
	if !equality.Semantic.DeepEqual(before.Spec, after.Spec) {
		t.Errorf("the pod of %s after a restart of all services:\n%+v\nwant\n%+v", session, after.Spec, before.Spec)
	}
	if !maps.Equal(before.Labels, after.Labels) {
		t.Errorf("labels of %s: %v, want %v", session, after.Labels, before.Labels)
	}
	c, want := after.Spec.Containers[0], before.Spec.Containers[0]
	if !slices.Equal(c.Command, want.Command) || len(c.Env) == 0 || len(c.Resources.Requests) == 0 {
		t.Errorf("the container of %s is %+v", session, c)
	}
}
