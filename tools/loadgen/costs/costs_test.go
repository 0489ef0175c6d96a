//go:build system

package costs_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/sandbar-io/sandbar/tools/internal/stubapi"
)

// cost is the most that one step costs, for each sandbox. Events and commands are
// exact. What depends on who comes first, as whether provisioner or watcher writes a
// view, has room for either.
type cost struct {
	provisioner float64 // calls to Kubernetes
	watcher     float64 // calls to Kubernetes
	commands    float64 // each with its reply and its acknowledgement
	events      float64
	views       float64 // written, by provisioner and watcher together
	reads       float64 // of a view, or of a sandbox' last event, before it is written over
	looks       float64 // at the bucket's end: one goes before each read, others are by the clock
}

// costs of one sandbox, however many there are.
var costs = map[string]cost{
	// Create of the record, of volume and pod, and the record again.
	"start": {provisioner: 4, watcher: 0.2, commands: 1, events: 2, views: 2, reads: 5, looks: 5.5},
	"ready": {events: 1, views: 1.5, reads: 1.5, looks: 2},
	// A gateway that asks for what it does not have looks at the bucket's end once for
	// all who ask meanwhile.
	"read": {looks: 1.2},
	// Records and pods are listed again, as the beginning of a watch or by pages, and not
	// one by one; nothing is written, for nothing is new.
	"listed again": {watcher: 0.1, looks: 0.2},
	// The record, before and after; its patch; the pod read and deleted.
	"pause": {provisioner: 5, watcher: 0.2, commands: 1, events: 1, views: 2, reads: 5, looks: 5.5},
	// The record and its patch; the pod before, the volume and the pod; the record.
	"resume": {provisioner: 6, watcher: 0.2, commands: 1, events: 3, views: 4, reads: 6, looks: 6.5},
	// As a pause, with one pod more to be read, as it was resumed; and the volume read and
	// deleted.
	"stop": {provisioner: 8, watcher: 0.2, commands: 1, events: 1, views: 2, reads: 5, looks: 5.5},
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
		delete(got.messages, reads)
	}
	per := func(total int) float64 { return float64(total) / float64(n) }
	took := func(kind string) float64 {
		total := got.messages[kind]
		delete(got.messages, kind)
		return per(total)
	}
	most := costs[name]
	for _, c := range []struct {
		what      string
		got, most float64
	}{
		{"calls of the provisioner", per(got.calls.Of("provisioner").Total()), most.provisioner},
		{"calls of the watcher", per(got.calls.Of("watcher").Total()), most.watcher},
		{"views written", took(viewWrites), most.views},
		{"views and events read", took(reads), most.reads},
		{"looks at the bucket's end", per(got.looks), most.looks},
		{"claims of activity", took(activity), 1}, // when a pod has become ready
	} {
		if c.got > c.most {
			t.Errorf("%s: %.2f %s a sandbox, at most %.2f", name, c.got, c.what, c.most)
		}
	}
	for _, c := range []struct {
		what      string
		got, want float64
	}{
		{"events", took(events), most.events},
		{"commands", took(commandOf + name), most.commands},
		{"replies", took(replies), most.commands},
		{"acknowledgements", took(acks), most.commands},
	} {
		if c.got != c.want {
			t.Errorf("%s: %.2f %s a sandbox, want %.0f", name, c.got, c.what, c.want)
		}
	}
	for kind, times := range got.messages {
		t.Errorf("%s: %d × %s", name, times, kind)
	}
}
