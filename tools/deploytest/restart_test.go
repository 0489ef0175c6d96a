//go:build system

package deploytest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

// servicesAreRestarted is check 42: each Deployment is restarted as `kubectl
// rollout restart` does it, one after the other, the leading watcher among them.
// A client that polls by the Services meets nothing but 2xx, and the sandbox does
// not notice.
func (i *installation) servicesAreRestarted(t *testing.T) {
	t.Attr("conformance", "42 real node")
	r := i.start(t)
	before, led := i.containerOf(t, r), leaseHolder(t)
	unshared := client.NewAPI(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, i.gateway, i.APIKey)
	running := func(rt client.Runtime, err error) error {
		if err == nil && rt.Status != "running" {
			err = fmt.Errorf("it is shown as %+v", rt)
		}
		return err
	}
	readers := []*reader{
		{name: "GET /sessions/{id}", read: func(ctx context.Context) error { return running(unshared.Session(ctx, r.SessionID)) }},
		{name: "GET /runtime/{id}", read: func(ctx context.Context) error { return running(unshared.Runtime(ctx, r.RuntimeID)) }},
		{name: "GET /sessions/batch", read: func(ctx context.Context) error {
			all, err := unshared.Batch(ctx, r.SessionID)
			if err == nil && all[0] == nil {
				err = errors.New("null")
			}
			return err
		}},
		{name: "GET /list", read: func(ctx context.Context) error {
			all, err := unshared.List(ctx)
			if _, there := all[r.SessionID]; err == nil && !there {
				err = errors.New("it is not listed")
			}
			return err
		}},
		i.aliveReader(r),
	}
	under(t, readers, func() {
		for _, name := range []string{"gateway", "router", "provisioner", "watcher"} {
			restart(t, name)
		}
	})
	if after := i.containerOf(t, r); after != before {
		t.Errorf("the sandbox's container was %s and is %s", before, after)
	}
	if leads := leaseHolder(t); leads == led {
		t.Errorf("%s leads as before: no leader was restarted", leads)
	}
	i.stop(t, r)
}

// containerOf is which run of which container a sandbox is.
func (i *installation) containerOf(t *testing.T, r client.Runtime) string {
	t.Helper()
	pods := must(bed.kube.CoreV1().Pods(sandboxNamespace).List(t.Context(), metav1.ListOptions{LabelSelector: "sandbar.io/runtime-id=" + r.RuntimeID})).or(t)
	if len(pods.Items) != 1 || len(pods.Items[0].Status.ContainerStatuses) != 1 {
		t.Fatalf("%s has %d pods, want one with one container", r.RuntimeID, len(pods.Items))
	}
	c := pods.Items[0].Status.ContainerStatuses[0]
	return fmt.Sprintf("%s of %s, restarted %d times", c.ContainerID, pods.Items[0].UID, c.RestartCount)
}

func leaseHolder(t *testing.T) string {
	t.Helper()
	lease := must(bed.kube.CoordinationV1().Leases(systemNamespace).Get(t.Context(), "sandbar-watcher", metav1.GetOptions{})).or(t)
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// restart replaces all pods of a Deployment, by its own strategy, and waits until
// they serve and the last of the old is gone.
func restart(t *testing.T, name string) {
	t.Helper()
	old := podsOf(t, name)
	patch := fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`, time.Now().Format(time.RFC3339Nano))
	d := must(bed.kube.AppsV1().Deployments(systemNamespace).Patch(t.Context(), name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})).or(t)
	waitFor(t, goneLimit, name+" is rolled out", func(ctx context.Context) (string, bool) {
		now, err := bed.kube.AppsV1().Deployments(systemNamespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err.Error(), false
		}
		return fmt.Sprintf("%+v", now.Status), now.Status.ObservedGeneration >= d.Generation && rolledOut(now)
	})
	waitReplaced(t, old...)
}

func rolledOut(d *appsv1.Deployment) bool {
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentProgressing && c.Status != corev1.ConditionTrue {
			return false
		}
	}
	return d.Status.UpdatedReplicas == *d.Spec.Replicas && whole(*d)
}
