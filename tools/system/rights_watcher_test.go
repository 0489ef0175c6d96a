//go:build system

package system_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

// watcherUses says for each right of the watcher how it comes to need it.
func (r *rig) watcherUses() map[right]use {
	all := map[right]use{}
	nothing := func(*testing.T) {}
	restart := func(t *testing.T) {
		t.Helper()
		if err := r.Kill("watcher-0"); err != nil {
			t.Fatal(err)
		}
		if err := r.StartService("watcher-0"); err != nil {
			t.Fatal(err)
		}
	}
	need := func(role, resource, verb string, cause func(*testing.T)) {
		all[right{role, verb, resource}] = func(t *testing.T, x right) { r.told(t, x, cause) }
	}
	for _, resource := range []string{"secrets", "pods"} {
		need("watcher", resource, "list", nothing) // the comparison, every RESYNC
		need("watcher", resource, "watch", restart)
	}
	for _, resource := range []string{"persistentvolumeclaims", "services", "ingresses", "httproutes"} {
		need("watcher", resource, "list", nothing)
	}
	need("watcher", "secrets", "get", r.loseRecord)
	need("watcher", "pods/log", "get", r.failPod)
	need("watcher-lease", "leases", "update", nothing)
	need("watcher-lease", "leases", "get", restart)
	need("watcher-lease", "leases", "create", func(t *testing.T) {
		t.Helper()
		if err := r.Kill("watcher-0"); err != nil {
			t.Fatal(err)
		}
		err := bed.kube.CoordinationV1().Leases(r.SystemNamespace).Delete(t.Context(), "sandbar-watcher", metav1.DeleteOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.StartService("watcher-0"); err != nil {
			t.Fatal(err)
		}
	})
	return all
}

// told takes a right of the watcher away and causes it to be needed: readiness
// names it with 503. Given back, the same process is ready again and leads.
func (r *rig) told(t *testing.T, x right, cause func(*testing.T)) {
	t.Helper()
	giveBack := r.without(t, "watcher", x)
	cause(t)
	r.waitReadiness(t, http.StatusServiceUnavailable, x.String())
	pid := r.pid(t, "watcher-0")
	giveBack()
	r.waitReadiness(t, http.StatusOK, "ok")
	r.waitLeader(t)
	if now := r.pid(t, "watcher-0"); now != pid {
		t.Errorf("%s: the watcher was restarted or died", x)
	}
}

// waitReadiness waits until the watcher's readiness has this status and says this
// of Kubernetes.
func (r *rig) waitReadiness(t *testing.T, status int, says string) {
	t.Helper()
	caller := client.Caller{Base: r.Services["watcher-0"].Health, HTTP: http.DefaultClient}
	waitFor(t, fmt.Sprintf("the watcher's readiness is %d and says %s", status, says), func(ctx context.Context) (string, bool) {
		answer, err := caller.Do(ctx, client.Request{Path: "/readiness"})
		if err != nil {
			return err.Error(), false
		}
		var state struct{ Kubernetes string }
		if err := answer.Decode(&state); err != nil {
			return err.Error(), false
		}
		return answer.String(), answer.Status == status && strings.Contains(state.Kubernetes, says)
	})
}

// loseRecord removes a record as no service does: the watcher asks for it before
// it takes the view away.
func (r *rig) loseRecord(t *testing.T) {
	t.Helper()
	r.running(t, "lost")
	name := sandbox.RecordName(sandbox.DefaultTenant, "lost")
	if err := bed.kube.CoreV1().Secrets(r.SandboxNamespace).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// failPod makes a simulated pod fail, for the watcher to read its log.
func (r *rig) failPod(t *testing.T) {
	t.Helper()
	rt := r.running(t, "failing")
	api := bed.kube.CoreV1().Pods(r.SandboxNamespace)
	waitFor(t, "the pod fails", func(ctx context.Context) (string, bool) {
		pod := r.onePod(t, rt.RuntimeID)
		pod.Status.Phase = corev1.PodFailed
		for i := range pod.Status.ContainerStatuses {
			pod.Status.ContainerStatuses[i].Ready = false
			pod.Status.ContainerStatuses[i].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error"}}
		}
		_, err := api.UpdateStatus(ctx, &pod, metav1.UpdateOptions{})
		return fmt.Sprint(err), err == nil || !apierrors.IsConflict(err)
	})
}
