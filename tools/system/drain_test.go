//go:build system

package system_test

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// TestNodeIsDrained: a node is cordoned and all its pods are evicted, as kubectl
// drain does. Each of its sandboxes runs again elsewhere, as the same one; those of
// other nodes notice nothing.
func TestNodeIsDrained(t *testing.T) {
	t.Parallel()
	r := newRig(t, "drained", stack.Options{Gateways: 2, Settings: []string{noPurge}})
	const many = 30
	ids := make([]string, many)
	session := func(i int) string { return fmt.Sprintf("drained-%02d", i) }
	bring := func(from, to int) {
		t.Helper()
		err := each(8, to-from, func(i int) (err error) {
			ids[from+i], err = r.bring(t, session(from+i), "running")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	bring(0, many/2)
	node := r.onePod(t, ids[0]).Spec.NodeName
	cordon(t, node)
	bring(many/2, many) // elsewhere
	before := map[string]corev1.Pod{}
	on := map[string][]string{} // runtime ids by node
	for _, id := range ids {
		p := r.onePod(t, id)
		before[id] = p
		on[p.Spec.NodeName] = append(on[p.Spec.NodeName], id)
	}
	if len(on) < 2 {
		t.Fatalf("all sandboxes are on %s", node)
	}
	t.Logf("%s has %d of %d sandboxes", node, len(on[node]), many)
	for _, id := range on[node] {
		r.evict(t, client.Runtime{RuntimeID: id})
	}
	for i, id := range ids {
		if before[id].Spec.NodeName != node {
			continue
		}
		waitFor(t, session(i)+" runs on another node", func(context.Context) (string, bool) {
			all, err := r.pods(t.Context())
			if err != nil {
				return err.Error(), false
			}
			said := fmt.Sprintf("%d pods", len(all[id]))
			for _, p := range all[id] {
				said += fmt.Sprintf("; %s on %s", p.Name, p.Spec.NodeName)
			}
			return said, len(all[id]) == 1 && all[id][0].UID != before[id].UID && all[id][0].Spec.NodeName != node
		})
		for _, api := range r.apis() {
			if rt := waitStatus(t, api, session(i), "running"); rt.RuntimeID != id {
				t.Errorf("%s is %s now, want %s", session(i), rt.RuntimeID, id)
			}
		}
	}
	for i, id := range ids {
		if was := before[id]; was.Spec.NodeName != node && r.onePod(t, id).UID != was.UID {
			t.Errorf("%s on %s has another pod", session(i), was.Spec.NodeName)
		}
	}
}

// cordon keeps new pods from a node until the test ends.
func cordon(t *testing.T, node string) {
	t.Helper()
	set := func(ctx context.Context, unschedulable bool) error {
		_, err := bed.kube.CoreV1().Nodes().Patch(ctx, node, types.MergePatchType,
			fmt.Appendf(nil, `{"spec":{"unschedulable":%v}}`, unschedulable), metav1.PatchOptions{})
		return err
	}
	if err := set(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := set(context.WithoutCancel(t.Context()), false); err != nil {
			t.Errorf("%s stays cordoned: %v", node, err)
		}
	})
}
