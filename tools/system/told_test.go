//go:build system

package system_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/tools/conformance"
	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// toldWithin is how soon clients are told what Kubernetes knows.
const toldWithin = 5 * time.Second

// newRealRig is a stack whose sandboxes are real containers. Tests that make the
// one real node fail, or fill it, are not parallel: others would notice.
func newRealRig(t *testing.T, name string, o stack.Options) *rig {
	t.Helper()
	o.Settings = append(append(stack.Placement(true), "TOLERATIONS=", "STORAGE_CLASS="), o.Settings...)
	return newRig(t, name, o)
}

// learns waits until Kubernetes knows something of a session's pod, and until
// clients are shown it, which must not be later than toldWithin. Kubernetes'
// knowledge begins when an admin's own watch shows it.
func (r *rig) learns(t *testing.T, session string, knows func(*corev1.Pod) bool, shows func(client.Runtime) bool) client.Runtime {
	t.Helper()
	rt, err := r.api(0).Session(t.Context(), session)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*waitLimit)
	defer cancel()
	type known struct {
		at  time.Time
		err error
	}
	first := make(chan known, 1)
	go func() {
		at, err := r.knownAt(ctx, rt.RuntimeID, knows)
		first <- known{at, err}
	}()
	var shown time.Time
	poll := client.Poll(ctx, pollEvery, 2*waitLimit, func(ctx context.Context) (string, bool) {
		if rt, err = r.api(0).Session(ctx, session); err != nil {
			return err.Error(), false
		}
		shown = time.Now()
		return fmt.Sprintf("%+v", rt), shows(rt)
	})
	if poll != nil {
		t.Fatalf("%s is not told: %v", session, poll)
	}
	k := <-first
	if k.err != nil {
		t.Fatalf("Kubernetes does not show it of %s: %v", session, k.err)
	}
	late := shown.Sub(k.at)
	if late > toldWithin {
		t.Errorf("%s was told %s after Kubernetes knew, want %s at most", session, late, toldWithin)
	}
	t.Logf("%s, %s: %s; told %s after Kubernetes knew", rt.Status, rt.PodStatus, firstLine(rt.StatusDetail), late.Round(time.Millisecond))
	return rt
}

// shown waits until clients are shown something that only Sandbar knows.
func (r *rig) shown(t *testing.T, session string, shows func(client.Runtime) bool) (rt client.Runtime) {
	t.Helper()
	waitFor(t, session+" is told", func(ctx context.Context) (string, bool) {
		var err error
		if rt, err = r.api(0).Session(ctx, session); err != nil {
			return err.Error(), false
		}
		return fmt.Sprintf("%+v", rt), shows(rt)
	})
	return rt
}

// knownAt watches the pods of a sandbox until one of them is as asked.
func (r *rig) knownAt(ctx context.Context, runtimeID string, knows func(*corev1.Pod) bool) (time.Time, error) {
	w, err := bed.kube.CoreV1().Pods(r.SandboxNamespace).Watch(ctx, metav1.ListOptions{LabelSelector: kube.LabelRuntimeID + "=" + runtimeID})
	if err != nil {
		return time.Time{}, err
	}
	defer w.Stop()
	var last string
	for {
		select {
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("%w; the last it showed: %s", ctx.Err(), last)
		case e, ok := <-w.ResultChan():
			p, isPod := e.Object.(*corev1.Pod)
			if !ok || !isPod {
				return time.Time{}, errors.New("the watch ended")
			}
			if knows(p) {
				return time.Now(), nil
			}
			last = fmt.Sprintf("%+v", p.Status)
		}
	}
}

// What Kubernetes knows of a pod.

func waits(reason string) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool {
		for _, c := range p.Status.ContainerStatuses {
			if c.State.Waiting != nil && c.State.Waiting.Reason == reason {
				return true
			}
		}
		return false
	}
}

func isUnschedulable(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return true
		}
	}
	return false
}

func isReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return p.DeletionTimestamp == nil && c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func over(phase corev1.PodPhase, reason string) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool { return p.Status.Phase == phase && p.Status.Reason == reason }
}

func isEnding(p *corev1.Pod) bool { return p.DeletionTimestamp != nil }

// What clients are shown.

func shows(status, podStatus string, words ...string) func(client.Runtime) bool {
	return func(r client.Runtime) bool {
		for _, w := range words {
			if !strings.Contains(r.StatusDetail, w) {
				return false
			}
		}
		return r.Status == status && r.PodStatus == podStatus
	}
}

var serves = shows("running", "ready")

// begin starts a sandbox with a body changed by mods, and waits for nothing.
func (r *rig) begin(t *testing.T, session string, mods ...func(map[string]any)) client.Runtime {
	t.Helper()
	b, err := conformance.Body("v1a", session, bed.image)
	if err != nil {
		t.Fatal(err)
	}
	delete(b, "resource_factor")
	for _, mod := range mods {
		mod(b)
	}
	rt, err := r.api(0).Start(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return rt
}

func imageOf(reference string) func(map[string]any) {
	return func(b map[string]any) { b["image"] = reference }
}

func factor(n int) func(map[string]any) {
	return func(b map[string]any) { b["resource_factor"] = n }
}

// asRoot lets the stub write outside its workspace.
func asRoot(b map[string]any) { b["run_as_user"], b["run_as_group"] = 0, 0 }

func env(pairs ...string) func(map[string]any) {
	return func(b map[string]any) {
		environment := map[string]any{}
		for i := 0; i+1 < len(pairs); i += 2 {
			environment[pairs[i]] = pairs[i+1]
		}
		b["environment"] = environment
	}
}

// stopped stops a sandbox in whatever state it is: clients are answered, shown
// the end, and nothing of it is left.
func (r *rig) stopped(t *testing.T, rt client.Runtime) {
	t.Helper()
	r.stopsAtOnce(t, rt)
	r.waitHas(t, rt.RuntimeID)
}

// stopsAtOnce is stopped, where what is left cannot go yet.
func (r *rig) stopsAtOnce(t *testing.T, rt client.Runtime) {
	t.Helper()
	if err := r.api(0).Stop(t.Context(), rt.RuntimeID); err != nil {
		t.Fatalf("stop while %s, %s: %v", rt.Status, rt.PodStatus, err)
	}
	waitEnded(t, r.api(0), rt.SessionID)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
