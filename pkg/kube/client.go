package kube

import (
	"fmt"

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
