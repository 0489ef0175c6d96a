//go:build system

package deploytest_test

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sandbar-io/sandbar/tools/devstack/deploy"
)

// workload is what deploy/ says of some pods.
type workload struct {
	name     string
	replicas int32
	pod      corev1.PodSpec
}

func workloads(t *testing.T) (all []workload) {
	t.Helper()
	for _, m := range must(deploy.Read(bed.root, systemNamespace, sandboxNamespace)).or(t) {
		switch m := m.(type) {
		case *appsv1.Deployment:
			all = append(all, workload{m.Name, *m.Spec.Replicas, m.Spec.Template.Spec})
		case *appsv1.StatefulSet:
			all = append(all, workload{m.Name, *m.Spec.Replicas, m.Spec.Template.Spec})
		}
	}
	return all
}

// podsOf are the pods of a workload, those that end already left out.
func podsOf(t *testing.T, name string) (live []corev1.Pod) {
	t.Helper()
	all := must(bed.kube.CoreV1().Pods(systemNamespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + name})).or(t)
	for _, p := range all.Items {
		if p.DeletionTimestamp == nil {
			live = append(live, p)
		}
	}
	return live
}

// Who has a token: those who have rights.
var withToken = []string{"provisioner", "watcher"}

func (i *installation) podsAreConfined(t *testing.T) {
	all := workloads(t)
	if len(all) != 5 {
		t.Errorf("deploy/ has %d workloads, want the four services and NATS", len(all))
	}
	for _, w := range all {
		pods := podsOf(t, w.name)
		if len(pods) != int(w.replicas) {
			t.Errorf("%d pods of %s, want %d", len(pods), w.name, w.replicas)
		}
		for _, p := range pods {
			confined(t, w, p)
			if has := mountsToken(p); has != slices.Contains(withToken, w.name) {
				t.Errorf("pod %s mounts a token: %v", p.Name, has)
			}
			for _, s := range p.Status.ContainerStatuses {
				if s.RestartCount > 0 {
					t.Errorf("pod %s: %s was restarted %d times; pods that start before what they need wait for it", p.Name, s.Name, s.RestartCount)
				}
			}
		}
	}
}

func confined(t *testing.T, w workload, p corev1.Pod) {
	t.Helper()
	if p.Spec.ServiceAccountName != w.pod.ServiceAccountName || p.Spec.ServiceAccountName != w.name {
		t.Errorf("pod %s runs as %q, want %q", p.Name, p.Spec.ServiceAccountName, w.pod.ServiceAccountName)
	}
	if !equality.Semantic.DeepEqual(p.Spec.SecurityContext, w.pod.SecurityContext) {
		t.Errorf("pod %s has the security context %+v, want %+v", p.Name, p.Spec.SecurityContext, w.pod.SecurityContext)
	}
	for n, c := range p.Spec.Containers {
		if !equality.Semantic.DeepEqual(c.SecurityContext, w.pod.Containers[n].SecurityContext) {
			t.Errorf("pod %s, container %s has the security context %+v, want %+v", p.Name, c.Name, c.SecurityContext, w.pod.Containers[n].SecurityContext)
		}
	}
}

// mountsToken reports whether admission gave the pod a token of its account.
func mountsToken(p corev1.Pod) bool {
	for _, v := range p.Spec.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			if s.ServiceAccountToken != nil {
				return true
			}
		}
	}
	return false
}
