package kube

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// ClientConfig reads a kubeconfig, or the pod's own service account where path
// is empty. client-go's limit of 5 requests a second is off: the API server's
// own priority and fairness limits us.
func ClientConfig(path string) (*rest.Config, error) {
	read := rest.InClusterConfig // asked by name: client-go's own choice logs a line that is no JSON
	if path != "" {
		read = func() (*rest.Config, error) { return clientcmd.BuildConfigFromFlags("", path) }
	}
	c, err := read()
	if err != nil {
		return nil, fmt.Errorf("find the Kubernetes API: %w", err)
	}
	c.QPS = -1
	c.UserAgent = "sandbar"
	return c, nil
}

// TrimRecord is an informer transform: it drops what the watcher does not read.
// The session key stays, for the view; the secret key, the spec's environment
// and command go.
func TrimRecord(obj any) (any, error) {
	if s, ok := obj.(*corev1.Secret); ok {
		s.ManagedFields = nil
		s.Annotations = nil
		r, err := DecodeRecord(s)
		if err != nil {
			return obj, nil // told about where it is read
		}
		r.Spec.Environment, r.Spec.Command, r.SecretKey = nil, nil, ""
		slim, err := EncodeRecord(r)
		if err != nil {
			return obj, nil
		}
		slim.ObjectMeta = s.ObjectMeta
		return slim, nil
	}
	return obj, nil
}

// TrimPod is an informer transform: of the spec only the node's name stays.
func TrimPod(obj any) (any, error) {
	if p, ok := obj.(*corev1.Pod); ok {
		p.ManagedFields = nil
		p.Annotations = nil
		p.Spec = corev1.PodSpec{NodeName: p.Spec.NodeName}
		p.Status.HostIPs, p.Status.PodIPs = nil, nil
	}
	return obj, nil
}
