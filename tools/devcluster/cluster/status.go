package cluster

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sandbar-io/sandbar/tools/devcluster/internal/binaries"
)

// Status writes what runs. Its error says that the cluster is down or not whole.
func Status(ctx context.Context, o Options, w io.Writer) error {
	if err := o.settle(); err != nil {
		return err
	}
	s, err := Load(o.Dir)
	if err != nil {
		return err
	}
	b, err := readBegun(o.Dir)
	if err != nil {
		return fmt.Errorf("cluster state: %w", err)
	}
	fmt.Fprintf(w, "api server  %s\nregistry    %s\ndns         %s\nkubeconfig  %s\n", s.APIServer, s.Registry, s.DNS, s.Kubeconfig)
	table := b.Layout.table()
	broken := 0
	for _, name := range table.Names() {
		id, err := table.Find(name)
		if err != nil {
			broken++
			fmt.Fprintf(w, "%-26s does not run, its log: %s\n", name, table.LogPath(name))
			continue
		}
		fmt.Fprintf(w, "%-26s pid %d\n", name, id.Pid)
	}
	if broken > 0 {
		return fmt.Errorf("%d of the cluster's programs do not run", broken)
	}
	return nodeStatus(ctx, s, w)
}

func nodeStatus(ctx context.Context, s *State, w io.Writer) error {
	client, err := Client(s.Kubeconfig)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("nodes: %w", err)
	}
	for _, n := range nodes.Items {
		state := "not ready"
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
				state = "ready"
			}
		}
		fmt.Fprintf(w, "%-26s %s, %s\n", "node "+n.Name, n.Labels[nodeLabel], state)
	}
	return nil
}

// Kubectl is the program and the environment that make kubectl the cluster's.
func Kubectl(s *State) (path string, env []string) {
	return filepath.Join(s.Bin, string(binaries.Kubernetes)), []string{"KUBECONFIG=" + s.Kubeconfig}
}
