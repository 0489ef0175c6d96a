//go:build system

package costs_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/sandbar-io/sandbar/tools/internal/stubapi"
)

// cost is the most that one thing costs, for each sandbox. Events are exact. What
// depends on who comes first, as whether provisioner or watcher writes a view, has
// room for either.
type cost struct {
	provisioner float64 // calls to Kubernetes
	watcher     float64 // calls to Kubernetes
	views       float64 // written, by provisioner and watcher together
	events      float64
	messages    float64 // of all kinds
}

// costs of one sandbox, whether there are a hundred or a thousand.
var costs = map[string]cost{
	// Create of the record, of volume and pod, and the record again.
	"start": {provisioner: 4.2, watcher: 0.2, views: 2.2, events: 2, messages: 12},
	"ready": {views: 2, events: 1, messages: 8},
	"read":  {},
	// Records and pods are listed again, as the beginning of a watch or by pages, and not
	// one by one; nothing is written, for nothing is new.
	"listed again": {watcher: 0.1},
	// The record, before and after; its patch; pods and volumes listed, the pod
	// deleted, and both listed again.
	"pause":  {provisioner: 6, watcher: 1, views: 2, events: 1, messages: 12},
	"resume": {provisioner: 7, watcher: 1, views: 4, events: 3, messages: 20},
	"stop":   {provisioner: 7, watcher: 1, views: 2, events: 1, messages: 12},
}

func TestCostsDoNotGrow(t *testing.T) {
	w := newWorld(t)
	sizes := []int{100, 1000}
	if more := os.Getenv("SANDBAR_COSTS_OF"); more != "" {
		n, err := strconv.Atoi(more)
		if err != nil {
			t.Fatalf("SANDBAR_COSTS_OF=%q is no number of sandboxes", more)
		}
		sizes = append(sizes, n)
	}
	for _, n := range sizes {
		t.Run(fmt.Sprintf("%d sandboxes", n), func(t *testing.T) { w.lives(t, n) })
	}
}

// lives leads so many sandboxes through their lives, step by step.
func (w *world) lives(t *testing.T, n int) {
	ids := make([]string, n)
	session := func(i int) string { return fmt.Sprintf("cost-%d-%d", n, i) }
	ready := func(incarnation int) func(context.Context, int) error {
		return func(_ context.Context, i int) error {
			return w.Stub.SetPod(w.Stack.SandboxNamespace, fmt.Sprintf("%s-%d", ids[i], incarnation),
				func(p *corev1.Pod) { stubapi.Ready(p, true, "127.0.0.1") })
		}
	}
	change := func(verb string) func(context.Context, int) error {
		return func(ctx context.Context, i int) error { return w.change(ctx, verb, ids[i]) }
	}
	w.step(t, n, "start", func() {
		each(t, n, func(ctx context.Context, i int) error {
			rt, err := w.Start(ctx, 0, session(i))
			ids[i] = rt.RuntimeID
			return err
		})
	})
	w.step(t, n, "ready", func() {
		each(t, n, ready(1))
		w.shown(t, ids, "running", "ready")
	})
	w.step(t, n, "read", func() {
		each(t, n, func(ctx context.Context, i int) error {
			for _, path := range []string{"/sessions/" + session(i), "/runtime/" + ids[i], "/sessions/batch?ids=" + session(i) + ",missing"} {
				if _, err := w.Get(ctx, w.Gateway(0)+path); err != nil {
					return err
				}
			}
			if i%100 == 0 {
				_, err := w.List(ctx, w.Gateway(0))
				return err
			}
			return nil
		})
	})
	w.step(t, n, "listed again", func() {
		begun := w.Stub.Calls.All()
		w.Stub.Forget()
		w.watched(t, begun)
	})
	w.step(t, n, "pause", func() {
		each(t, n, change("pause"))
		w.shown(t, ids, "paused", "not found")
	})
	w.step(t, n, "resume", func() {
		each(t, n, change("resume"))
		each(t, n, ready(2))
		w.shown(t, ids, "running", "ready")
	})
	w.step(t, n, "stop", func() {
		each(t, n, change("stop"))
		w.shown(t, ids, "stopped", "not found")
	})
}

// step counts one step, and compares it with what it may cost.
func (w *world) step(t *testing.T, n int, name string, do func()) {
	t.Helper()
	got := w.during(t, do)
	t.Logf("%s of %d: %s", name, n, got)
	if name == "read" {
		// A gateway has no right to these (tools/natsperm): they are the watcher's, who
		// looks at a pod again when it has run for a while.
		delete(got.messages, "message read")
	}
	per := func(total int) float64 { return float64(total) / float64(n) }
	all := 0
	for _, m := range got.messages {
		all += m
	}
	most := costs[name]
	for _, c := range []struct {
		what      string
		got, most float64
	}{
		{"calls of the provisioner", per(got.calls.Of("provisioner").Total()), most.provisioner},
		{"calls of the watcher", per(got.calls.Of("watcher").Total()), most.watcher},
		{"views written", per(got.messages["view"]), most.views},
		{"messages", per(all), most.messages},
	} {
		if c.got > c.most {
			t.Errorf("%s: %.2f %s a sandbox, at most %.2f", name, c.got, c.what, c.most)
		}
	}
	if e := per(got.messages["event"]); e != most.events {
		t.Errorf("%s: %.2f events a sandbox, want %.0f", name, e, most.events)
	}
	for kind := range got.messages {
		if strings.HasPrefix(kind, "sandbar.deadletter") || strings.HasPrefix(kind, "command reconcile") {
			t.Errorf("%s: %s", name, kind)
		}
	}
}
