//go:build system

package system_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// pods are all live pods of the stack, by runtime id.
func (r *rig) pods(ctx context.Context) (map[string][]corev1.Pod, error) {
	list, err := bed.kube.CoreV1().Pods(r.SandboxNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	all := map[string][]corev1.Pod{}
	for _, p := range list.Items {
		id := p.Labels[kube.LabelRuntimeID]
		all[id] = append(all[id], p)
	}
	return all, nil
}

// onePod is the only pod of a sandbox.
func (r *rig) onePod(t *testing.T, runtimeID string) corev1.Pod {
	t.Helper()
	all, err := r.pods(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(all[runtimeID]) != 1 {
		t.Fatalf("%s has %d pods, want one", runtimeID, len(all[runtimeID]))
	}
	return all[runtimeID][0]
}

// has lists the objects of a sandbox by kind, as in "pod", "volume". Its record is
// not among them.
func (r *rig) has(ctx context.Context, runtimeID string) (kinds []string, err error) {
	opts := metav1.ListOptions{LabelSelector: kube.LabelComponent + "=" + kube.ComponentSandbox}
	if runtimeID != "" {
		opts.LabelSelector += "," + kube.LabelRuntimeID + "=" + runtimeID
	}
	core := bed.kube.CoreV1()
	pods, err := core.Pods(r.SandboxNamespace).List(ctx, opts)
	if err != nil {
		return nil, err
	}
	claims, err := core.PersistentVolumeClaims(r.SandboxNamespace).List(ctx, opts)
	if err != nil {
		return nil, err
	}
	services, err := core.Services(r.SandboxNamespace).List(ctx, opts)
	if err != nil {
		return nil, err
	}
	ingresses, err := bed.kube.NetworkingV1().Ingresses(r.SandboxNamespace).List(ctx, opts)
	if err != nil {
		return nil, err
	}
	for kind, n := range map[string]int{
		"pod": len(pods.Items), "volume": len(claims.Items), "service": len(services.Items), "ingress": len(ingresses.Items),
	} {
		kinds = append(kinds, slices.Repeat([]string{kind}, n)...)
	}
	slices.Sort(kinds)
	return kinds, nil
}

// waitHas waits until a sandbox has exactly these objects.
func (r *rig) waitHas(t *testing.T, runtimeID string, want ...string) {
	t.Helper()
	slices.Sort(want)
	what := fmt.Sprintf("%s has %q", runtimeID, want)
	waitFor(t, what, func(ctx context.Context) (string, bool) {
		kinds, err := r.has(ctx, runtimeID)
		if err != nil {
			return err.Error(), false
		}
		return "it has " + strings.Join(kinds, ", "), slices.Equal(kinds, want)
	})
}

// record reads the record of a session of the default tenant.
func (r *rig) record(t *testing.T, session string) *sandbox.Record {
	t.Helper()
	name := sandbox.RecordName(sandbox.DefaultTenant, session)
	s, err := bed.kube.CoreV1().Secrets(r.SandboxNamespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatalf("record of %s: %v", session, err)
	}
	rec, err := kube.DecodeRecord(s)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// records counts all records of the stack.
func (r *rig) records(t *testing.T) int {
	t.Helper()
	list, err := bed.kube.CoreV1().Secrets(r.SandboxNamespace).List(t.Context(), metav1.ListOptions{LabelSelector: kube.RecordSelector})
	if err != nil {
		t.Fatal(err)
	}
	return len(list.Items)
}

// waitPlaces waits until the ledger of the stack's key counts so many sandboxes.
func (r *rig) waitPlaces(t *testing.T, want int) {
	t.Helper()
	name := sandbox.LedgerName(sandbox.DefaultTenant, "API_KEY")
	waitFor(t, fmt.Sprintf("the ledger counts %d", want), func(ctx context.Context) (string, bool) {
		s, err := bed.kube.CoreV1().Secrets(r.SandboxNamespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err.Error(), false
		}
		var ledger struct {
			Places map[string]any `json:"places"`
		}
		if err := json.Unmarshal(s.Data["ledger"], &ledger); err != nil {
			t.Fatal(err)
		}
		return string(s.Data["ledger"]), len(ledger.Places) == want
	})
}
