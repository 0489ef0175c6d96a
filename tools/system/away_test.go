//go:build system

package system_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// away is how long the API server or a node is silent: twelve leases of the
// watcher (5 s), and almost four times as long as this cluster waits until it
// calls a node lost (16 s).
const away = time.Minute

// patient is for what is not to leave a lost node.
const patient = `TOLERATIONS=[` + stack.OutlastLostNodes + `]`

// TestCheck40APIServerAway: while the API server says nothing, everything is
// shown as it was; what changes is refused in words; afterwards all goes on.
func TestCheck40APIServerAway(t *testing.T) {
	t.Attr("conformance", "40 real node")
	r := newRealRig(t, "apiaway", stack.Options{Gateways: 2, Provisioners: 2, Watchers: 2, Settings: []string{noPurge, patient}})
	live := map[string]string{"runs": r.running(t, "runs").Status, "sleeps": r.paused(t, "sleeps").Status}
	before := r.podsOf(t, live)
	readers := r.ask(t, live)
	thaw := freeze(t, "kube-apiserver")
	silent := time.Now()
	_, err := r.api(0).Start(t.Context(), body(t, "refused"))
	if s := client.StatusOf(err); s != http.StatusServiceUnavailable && s != http.StatusGatewayTimeout {
		t.Errorf("a start without an API server: %v, want 503 or 504", err)
	}
	waitUntil(t, silent.Add(away))
	thaw()
	back := time.Now()
	r.waitLeader(t)
	t.Logf("a watcher led again %s after the API server was back", time.Since(back).Round(10*time.Millisecond))
	waitNode(t, corev1.ConditionTrue)
	waitUntil(t, back.Add(15*time.Second)) // what was noted meanwhile is written by now
	if answers, unavailable := readers.end(t); unavailable > 0 {
		t.Errorf("%d of %d answers were 503", unavailable, answers)
	}
	if after := r.podsOf(t, live); !maps.Equal(before, after) {
		t.Errorf("the pods changed:\nbefore %v\nafter  %v", before, after)
	}
	r.running(t, "afterwards")
}

// TestKubernetesDies: the API server or its store is killed while sandboxes are
// started and stopped, and comes back. What was accepted exists once, what was
// stopped is gone, and whoever reads notices nothing. Not parallel: all tests have
// one API server.
func TestKubernetesDies(t *testing.T) {
	r := newRig(t, "apidies", stack.Options{Gateways: 2, Provisioners: 2, Watchers: 2, Settings: []string{noPurge}})
	live := map[string]string{"runs": r.running(t, "runs").Status, "sleeps": r.paused(t, "sleeps").Status}
	for _, program := range []string{"kube-apiserver", "etcd"} {
		load := r.startAndStop(t, program)
		load.waitAnswers(t, 20)
		readers := r.ask(t, live)
		before := load.notAccepted()
		again, err := bed.Kill(program)
		if err != nil {
			t.Fatal(err)
		}
		again = sync.OnceValue(again)
		t.Cleanup(func() {
			if err := again(); err != nil {
				t.Errorf("%s stays away: %v", program, err)
			}
			waitKubernetes(t) // others need it
		})
		waitFor(t, "changes are not accepted", func(context.Context) (string, bool) {
			return "all are accepted", load.notAccepted() > before
		})
		if err := again(); err != nil {
			t.Fatal(err)
		}
		back := time.Now()
		r.waitWhole(t)
		load.waitAnswers(t, 5)
		t.Logf("%s: changes were answered again %s after it was started", program, time.Since(back).Round(10*time.Millisecond))
		r.waitLeader(t)
		waitNode(t, corev1.ConditionTrue)
		load.end(t)
		t.Logf("%s: %d changes accepted, %d refused, %d of unknown outcome", program, load.accepted, load.refused, load.unknown)
		if answers, unavailable := readers.end(t); unavailable > 0 {
			t.Errorf("%s: %d of %d reads were 503", program, unavailable, answers)
		}
	}
}

// waitWhole waits until a sandbox can be led through its life again. An API server
// serves before it knows who may do what, and what watches it comes back to it after
// half a minute and more.
func (r *rig) waitWhole(t *testing.T) {
	t.Helper()
	session := "whole-" + nonce()
	var rt client.Runtime
	err := client.Poll(t.Context(), time.Second, 3*waitLimit, func(ctx context.Context) (string, bool) {
		var err error
		rt, err = r.api(0).Start(ctx, body(t, session))
		return fmt.Sprintf("%+v, %v", rt, err), err == nil && rt.Status == "running"
	})
	if err != nil {
		t.Fatalf("no sandbox runs: %v", err)
	}
	if err := r.api(0).Stop(t.Context(), rt.RuntimeID); err != nil {
		t.Fatal(err)
	}
	r.waitHas(t, rt.RuntimeID)
}

// waitKubernetes waits until the API server serves, at a test's end too.
func waitKubernetes(t *testing.T) {
	t.Helper()
	err := client.Poll(context.WithoutCancel(t.Context()), pollEvery, waitLimit, func(ctx context.Context) (string, bool) {
		_, err := bed.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		return fmt.Sprint(err), err == nil
	})
	if err != nil {
		t.Errorf("the API server does not serve: %v", err)
	}
}

// TestCheck40NodeUnreachable: a node says nothing, longer than Kubernetes waits
// until it calls it lost. Statuses stay, and everything can be stopped.
func TestCheck40NodeUnreachable(t *testing.T) {
	t.Attr("conformance", "40 real node")
	r := newRealRig(t, "nodeaway", stack.Options{Gateways: 2, Settings: []string{noPurge, patient}})
	live := map[string]string{"runs": r.running(t, "runs").Status, "sleeps": r.paused(t, "sleeps").Status}
	before := r.podsOf(t, live)
	gone := r.running(t, "stops")
	readers := r.ask(t, live)
	thaw := freeze(t, bed.RealNodes[0]+"-kubelet")
	waitNode(t, corev1.ConditionUnknown)
	lost := time.Now()
	r.stopsAtOnce(t, gone)
	r.begin(t, "waits")
	r.learns(t, "waits", isUnschedulable, shows("starting", "pending", "untolerated taint"))
	waitUntil(t, lost.Add(away))
	thaw()
	waitNode(t, corev1.ConditionTrue)
	r.learns(t, "runs", isReady, serves)
	if answers, unavailable := readers.end(t); unavailable > 0 {
		t.Errorf("%d of %d answers were 503", unavailable, answers)
	}
	r.waitHas(t, gone.RuntimeID)
	waits := r.learns(t, "waits", isReady, serves)
	r.stopped(t, waits)
	if after := r.podsOf(t, live); !maps.Equal(before, after) {
		t.Errorf("the pods changed:\nbefore %v\nafter  %v", before, after)
	}
}

// What clients are shown of a lost node. The controller that deletes its pods
// says so in each of them first.
var (
	takenOffNode  = shows("starting", "not found", "DeletionByTaintManager: Taint manager: ")
	unschedulable = shows("starting", "pending", "Unschedulable: ")
)

// TestNodeIsLost: Kubernetes takes the pods of a lost node away, and they never
// end. The next incarnation takes their place and waits for a node and the
// volume, in words; every command is answered; when the node is back all runs.
func TestNodeIsLost(t *testing.T) {
	r := newRealRig(t, "lost", stack.Options{Gateways: 2, Settings: []string{noPurge}})
	sessions := []string{"left-alone", "started", "resumed", "paused", "stopped"}
	first := map[string]client.Runtime{}
	for _, s := range sessions {
		r.begin(t, s)
	}
	for _, s := range sessions {
		first[s] = r.learns(t, s, isReady, serves)
		agent := client.NewAgent(r.http, first[s].URL, first[s].SessionAPIKey)
		if err := agent.Write(t.Context(), "/workspace", "notes.txt", s); err != nil {
			t.Fatal(err)
		}
	}
	thaw := freeze(t, bed.RealNodes[0]+"-kubelet")
	for _, s := range sessions {
		r.learns(t, s, isEnding, func(rt client.Runtime) bool { // by whom, or what the next one waits for
			return takenOffNode(rt) || unschedulable(rt)
		})
	}
	for _, s := range sessions {
		r.learns(t, s, isUnschedulable, unschedulable)
	}
	begin := time.Now()
	if again := r.begin(t, "started"); again.RuntimeID != first["started"].RuntimeID {
		t.Errorf("%+v became %+v", first["started"], again)
	}
	for _, do := range []func(context.Context, string) (client.Runtime, error){r.api(0).Pause, r.api(1).Resume, r.api(0).Resume} {
		if _, err := do(t.Context(), first["resumed"].RuntimeID); err != nil {
			t.Errorf("on a lost node: %v", err)
		}
	}
	if _, err := r.api(0).Pause(t.Context(), first["paused"].RuntimeID); err != nil {
		t.Error(err)
	}
	r.stopsAtOnce(t, first["stopped"])
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("six commands took %s", took)
	}
	// Its session can be started anew though what was stopped still hangs there.
	anew := r.begin(t, "stopped")
	if anew.RuntimeID == first["stopped"].RuntimeID {
		t.Errorf("a stopped sandbox came back: %+v", anew)
	}
	thaw()
	waitNode(t, corev1.ConditionTrue)
	for _, s := range []string{"left-alone", "started", "resumed"} {
		rt := r.learns(t, s, isReady, serves)
		got, err := client.NewAgent(r.http, rt.URL, rt.SessionAPIKey).Read(t.Context(), "/workspace", "notes.txt")
		if err != nil || got != s {
			t.Errorf("the volume of %s holds %q, %v", s, got, err)
		}
		r.waitHas(t, rt.RuntimeID, "pod", "volume")
	}
	waitStatus(t, r.api(0), "paused", "paused")
	r.waitHas(t, first["paused"].RuntimeID, "volume")
	r.waitHas(t, first["stopped"].RuntimeID)
	waitStatus(t, r.api(0), "stopped", "running")
}

// TestCheck41ReadinessBlip: a sandbox that is unready for 10 s is running for
// readers all the time.
func TestCheck41ReadinessBlip(t *testing.T) {
	t.Attr("conformance", "41 real node")
	r := newRealRig(t, "blip", stack.Options{Gateways: 2, Settings: []string{noPurge}})
	r.begin(t, "blip", env("STUB_UNREADY_FILE", "/workspace/unready"))
	rt := r.learns(t, "blip", isReady, serves)
	readers := r.ask(t, map[string]string{"blip": "running"})
	agent := client.NewAgent(r.http, rt.URL, rt.SessionAPIKey)
	if err := agent.Write(t.Context(), "/workspace", "unready", "now"); err != nil {
		t.Fatal(err)
	}
	r.learns(t, "blip", func(p *corev1.Pod) bool { return !isReady(p) }, shows("running", "running"))
	waitUntil(t, time.Now().Add(10*time.Second))
	answer, err := agent.Do(t.Context(), client.Request{Method: http.MethodDelete, Path: "/files/unready?root=/workspace"})
	if err != nil || !answer.OK() {
		t.Fatal(answer, err)
	}
	rt = r.learns(t, "blip", isReady, serves)
	if answers, unavailable := readers.end(t); unavailable > 0 || rt.RestartCount != 0 {
		t.Errorf("%d of %d answers were 503; %+v", unavailable, answers, rt)
	}
}

// freeze stops a program of the cluster until thaw, at the test's end at the
// latest.
func freeze(t *testing.T, program string) (thaw func()) {
	t.Helper()
	pid, err := bed.Pid(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	thaw = func() {
		if err := unix.Kill(pid, unix.SIGCONT); err != nil {
			t.Errorf("%s stays frozen: %v", program, err)
		}
	}
	t.Cleanup(thaw)
	waitFor(t, program+" stands still", func(context.Context) (string, bool) {
		states := ""
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		for _, path := range tasks {
			stat, failed := os.ReadFile(path)
			err = errors.Join(err, failed)
			if _, after, ok := strings.Cut(string(stat), ") "); ok {
				states += after[:1]
			}
		}
		return fmt.Sprintf("%s, %v", states, err), err == nil && states != "" && strings.Trim(states, "T") == ""
	})
	return thaw
}

// waitNode waits until Kubernetes thinks so of the real node, and gives it new pods or
// none. Of the taints of a lost node the one that keeps new pods away may come last:
// with the other alone, which sandboxes tolerate, it is given one more.
func waitNode(t *testing.T, ready corev1.ConditionStatus) {
	t.Helper()
	waitFor(t, fmt.Sprintf("%s has Ready %s", bed.RealNodes[0], ready), func(ctx context.Context) (string, bool) {
		n, err := bed.kube.CoreV1().Nodes().Get(ctx, bed.RealNodes[0], metav1.GetOptions{})
		if err != nil {
			return err.Error(), false
		}
		var is corev1.ConditionStatus
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady {
				is = c.Status
			}
		}
		tainted, closed := false, false
		for _, taint := range n.Spec.Taints {
			if strings.HasPrefix(taint.Key, "node.kubernetes.io/") {
				tainted = true
				closed = closed || taint.Effect == corev1.TaintEffectNoSchedule
			}
		}
		fits := !tainted
		if ready != corev1.ConditionTrue {
			fits = closed
		}
		return fmt.Sprintf("Ready is %s, taints %v", is, n.Spec.Taints), is == ready && fits
	})
}

// labelNode puts a label on a node until the test's end.
func labelNode(t *testing.T, node, label, value string) {
	t.Helper()
	patch := func(ctx context.Context, value string) error {
		_, err := bed.kube.CoreV1().Nodes().Patch(ctx, node, types.MergePatchType,
			fmt.Appendf(nil, `{"metadata":{"labels":{%q:%s}}}`, label, value), metav1.PatchOptions{})
		return err
	}
	if err := patch(t.Context(), fmt.Sprintf("%q", value)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := patch(context.WithoutCancel(t.Context()), "null"); err != nil {
			t.Errorf("the label %s stays: %v", label, err)
		}
	})
}

// waitUntil is for what must last; what happens meanwhile is looked at by others.
func waitUntil(t *testing.T, at time.Time) {
	t.Helper()
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}
