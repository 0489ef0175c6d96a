//go:build apiserver

package cluster_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestLeak(t *testing.T) {
	w := newWorld(t, "baseline")
	w.quota(corev1.ResourceList{"pods": resource.MustParse("10")})
	r := w.record("s")
	for range 5 {
		_, err := w.cluster().CreatePod(t.Context(), r)
		must(t, err)
	}
	q, err := w.client.CoreV1().ResourceQuotas(w.ns).Get(t.Context(), "room", metav1.GetOptions{})
	must(t, err)
	t.Fatalf("%v", q.Status.Used)
}
