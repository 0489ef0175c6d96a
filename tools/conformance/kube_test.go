//go:build system

package conformance_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

// runtimeLabel stands on the record and on all objects of a sandbox.
const runtimeLabel = "sandbar.io/runtime-id"

func ofRuntime(r client.Runtime) metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: runtimeLabel + "=" + r.RuntimeID}
}

// podsOf are the pods of a sandbox, those that end already left out.
func podsOf(t *testing.T, namespace string, r client.Runtime) []corev1.Pod {
	t.Helper()
	all := try(suite.kube.CoreV1().Pods(namespace).List(t.Context(), ofRuntime(r))).or(t)
	var live []corev1.Pod
	for _, pod := range all.Items {
		if pod.DeletionTimestamp == nil {
			live = append(live, pod)
		}
	}
	return live
}

// onePod is the pod of a sandbox that must have exactly one. It asks for
// everything that the record owns, for a pod too many could bear any label.
func onePod(t *testing.T, namespace string, r client.Runtime) corev1.Pod {
	t.Helper()
	records := try(suite.kube.CoreV1().Secrets(namespace).List(t.Context(), ofRuntime(r))).or(t)
	if len(records.Items) != 1 {
		t.Fatalf("%d records of %s, want 1", len(records.Items), r.RuntimeID)
	}
	owner := records.Items[0].UID
	all := try(suite.kube.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})).or(t)
	var owned []corev1.Pod
	var names []string
	for _, pod := range all.Items {
		if pod.DeletionTimestamp == nil && ownedBy(pod, owner) {
			owned, names = append(owned, pod), append(names, pod.Name)
		}
	}
	if len(owned) != 1 {
		t.Fatalf("pods of the record of %s: %q, want exactly one", r.RuntimeID, names)
	}
	if owned[0].Labels[runtimeLabel] != r.RuntimeID {
		t.Fatalf("pod %s has the labels %v, want the runtime id %s", owned[0].Name, owned[0].Labels, r.RuntimeID)
	}
	return owned[0]
}

func ownedBy(pod corev1.Pod, owner types.UID) bool {
	for _, reference := range pod.OwnerReferences {
		if reference.UID == owner {
			return true
		}
	}
	return false
}

// mainContainer is the one that runs the client's command.
func mainContainer(t *testing.T, pod corev1.Pod) corev1.Container {
	t.Helper()
	if len(pod.Spec.Containers) != 1 {
		t.Fatalf("pod %s has %d containers, want 1", pod.Name, len(pod.Spec.Containers))
	}
	return pod.Spec.Containers[0]
}

// waitNoPod waits until a sandbox uses no compute.
func waitNoPod(t *testing.T, r client.Runtime) {
	t.Helper()
	waitFor(t, goneLimit, "pods of "+r.RuntimeID+" are gone", func(ctx context.Context) (string, bool) {
		pods, err := suite.kube.CoreV1().Pods(suite.Namespace).List(ctx, ofRuntime(r))
		if err != nil {
			return err.Error(), false
		}
		return fmt.Sprintf("%d pods", len(pods.Items)), len(pods.Items) == 0
	})
}

// waitNothing waits until pod, Service, route and volume of a sandbox are gone.
// Its record may stay a while, so that a second stop is known.
func waitNothing(t *testing.T, r client.Runtime) {
	t.Helper()
	waitFor(t, goneLimit, "objects of "+r.RuntimeID+" are gone", func(ctx context.Context) (string, bool) {
		left, err := objectsOf(ctx, r)
		if err != nil {
			return err.Error(), false
		}
		return "left are " + strings.Join(left, ", "), len(left) == 0
	})
}

func objectsOf(ctx context.Context, r client.Runtime) (left []string, err error) {
	core, opts := suite.kube.CoreV1(), ofRuntime(r)
	pods, err := core.Pods(suite.Namespace).List(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("pods: %w", err)
	}
	for _, o := range pods.Items {
		left = append(left, "pod "+o.Name)
	}
	services, err := core.Services(suite.Namespace).List(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("services: %w", err)
	}
	for _, o := range services.Items {
		left = append(left, "service "+o.Name)
	}
	ingresses, err := suite.kube.NetworkingV1().Ingresses(suite.Namespace).List(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("ingresses: %w", err)
	}
	for _, o := range ingresses.Items {
		left = append(left, "ingress "+o.Name)
	}
	volumes, err := volumesOf(ctx, r)
	return append(left, volumes...), err
}

// volumesOf finds claims by label and by name.
func volumesOf(ctx context.Context, r client.Runtime) ([]string, error) {
	claims, err := suite.kube.CoreV1().PersistentVolumeClaims(suite.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("volumes: %w", err)
	}
	var found []string
	for _, o := range claims.Items {
		if o.Name == r.RuntimeID || o.Labels[runtimeLabel] == r.RuntimeID {
			found = append(found, "volume "+o.Name)
		}
	}
	return found, nil
}
