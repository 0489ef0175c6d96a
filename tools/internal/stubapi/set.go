package stubapi

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// SetPod changes a pod as its kubelet would.
func (s *Server) SetPod(namespace, name string, change func(*corev1.Pod)) error {
	_, err := s.store.update("pods", types.NamespacedName{Namespace: namespace, Name: name}, func(old object) (object, error) {
		p := old.DeepCopyObject().(*corev1.Pod) // there is nothing else under pods
		change(p)
		return p, nil
	})
	return err
}

// Pods are the names of all pods.
func (s *Server) Pods() []string {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	var names []string
	for key := range s.store.collections["pods"].objects {
		names = append(names, key.Name)
	}
	slices.Sort(names)
	return names
}

// Count is how many objects of a resource are there.
func (s *Server) Count(resource string) int {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	return len(s.store.collections[resource].objects)
}

// Ready makes a pod run and be ready, or run and not be, at an address.
func Ready(p *corev1.Pod, ready bool, ip string) {
	now, started := metav1.Now(), true
	is := corev1.ConditionFalse
	if ready {
		is = corev1.ConditionTrue
	}
	p.Status.Phase, p.Status.PodIP, p.Status.HostIP = corev1.PodRunning, ip, ip
	p.Status.StartTime = &now
	p.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: now},
		{Type: corev1.ContainersReady, Status: is, LastTransitionTime: now},
		{Type: corev1.PodReady, Status: is, LastTransitionTime: now},
	}
	p.Status.ContainerStatuses = nil
	for _, c := range p.Spec.Containers {
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, Image: c.Image, Ready: ready, Started: &started,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
		})
	}
	p.Spec.NodeName = "stub"
}

// Forget ends every watch with 410 Gone, as a server does whose etcd was compacted:
// who watched must list anew.
func (s *Server) Forget() { s.store.forget() }
