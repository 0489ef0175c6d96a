//go:build apiserver

package cluster_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/cluster"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/quota"
)

func newLedger(key string) *quota.Ledger {
	return &quota.Ledger{
		Tenant: "acme", Key: key,
		Places: map[string]map[string]quota.Place{
			sandbox.RecordName("acme", "s"): {"place": {Command: 1_772_600_767_089_123, CPU: 1500, Memory: 2 << 30, Taken: 1_772_600_767_089, Seen: 7}},
		},
		Starts: []quota.Start{{Command: 1_772_600_767_089_123, At: 1_772_600_767_089}},
	}
}

func TestLedger(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "baseline")
	c, ctx := w.cluster(), t.Context()
	if l, err := c.Ledger(ctx, "acme", "key"); l != nil || err != nil {
		t.Fatalf("%+v, %v", l, err)
	}
	want := newLedger("key")
	must(t, c.SwapLedger(ctx, want))
	first, err := c.Ledger(ctx, "acme", "key")
	must(t, err)
	if want.UID, want.Version = first.UID, first.Version; first.UID == "" || first.Version == "" || !reflect.DeepEqual(first, want) {
		t.Errorf("%+v was made of %+v", first, want)
	}
	// It is no record, and nothing that a sandbox has.
	for _, selector := range []string{kube.RecordSelector, kube.SandboxSelector} {
		list, err := w.client.CoreV1().Secrets(w.ns).List(ctx, metav1.ListOptions{LabelSelector: selector})
		must(t, err)
		if len(list.Items) != 0 {
			t.Errorf("%s selects %s", selector, list.Items[0].Name)
		}
	}
	for name, l := range map[string]*quota.Ledger{"made twice": newLedger("key"), "another version": {Tenant: "acme", Key: "key", UID: first.UID, Version: "1"}, "gone": {Tenant: "acme", Key: "none", UID: first.UID, Version: first.Version}} {
		if err := c.SwapLedger(ctx, l); !errors.Is(err, quota.ErrMoved) {
			t.Errorf("%s: %v", name, err)
		}
	}
	second := *first
	second.Places, second.Starts = map[string]map[string]quota.Place{}, nil
	must(t, c.SwapLedger(ctx, &second))
	if err := c.SwapLedger(ctx, first); !errors.Is(err, quota.ErrMoved) {
		t.Errorf("an older one was written: %v", err)
	}
	got, err := c.Ledger(ctx, "acme", "key")
	must(t, err)
	if len(got.Places) != 0 || len(got.Starts) != 0 || got.Version == first.Version {
		t.Errorf("%+v", got)
	}
	must(t, w.client.CoreV1().Secrets(w.ns).Delete(ctx, sandbox.LedgerName("acme", "key"), metav1.DeleteOptions{}))
	must(t, c.SwapLedger(ctx, newLedger("key")))
	if err := c.SwapLedger(ctx, got); !errors.Is(err, quota.ErrMoved) {
		t.Errorf("one that was made anew was written over: %v", err)
	}
}

// As many places as there may be fit a Secret.
func TestTheLargestLedger(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "baseline")
	l := newLedger("key")
	for i := range 2 * sandbox.MaxHeld {
		l.Places[sandbox.RecordName("acme", fmt.Sprint(i))] = map[string]quota.Place{
			sandbox.NewPlace(): {Command: 1 << 62, CPU: sandbox.MaxAmount, Memory: sandbox.MaxAmount, Taken: 1 << 42, Seen: 1 << 42},
		}
	}
	for range sandbox.MaxStarts {
		l.Starts = append(l.Starts, quota.Start{Command: 1 << 62, At: 1 << 42})
	}
	must(t, w.cluster().SwapLedger(t.Context(), l))
}

// What cannot be read is no ledger to be written over: an error, tried again.
func TestLedgerThatCannotBeRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "baseline")
	for key, data := range map[string]string{
		"garbage": "{", "another's": `{"version":1,"tenant":"acme","key":"key"}`, "newer": `{"version":2,"tenant":"acme","key":"newer"}`,
	} {
		_, err := w.client.CoreV1().Secrets(w.ns).Create(t.Context(), &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: sandbox.LedgerName("acme", key)}, Data: map[string][]byte{"ledger": []byte(data)},
		}, metav1.CreateOptions{})
		must(t, err)
		if l, err := w.cluster().Ledger(t.Context(), "acme", key); l != nil || err == nil || cluster.Permanent(err) {
			t.Errorf("%s: %+v, %v", key, l, err)
		}
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	w := &world{t: t}
	for factor, want := range map[int][2]int64{1: {100, 64 << 20}, 4: {400, 256 << 20}} {
		if cpu, memory := w.cluster().Requests(&sandbox.Spec{ResourceFactor: factor}); cpu != want[0] || memory != want[1] {
			t.Errorf("factor %d: %d, %d", factor, cpu, memory)
		}
	}
}
