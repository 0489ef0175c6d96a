package cluster

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sandbar-io/sandbar/tools/devcluster/internal/binaries"
	"github.com/sandbar-io/sandbar/tools/internal/process"
)

// prepare makes a node's folders, network, cgroups and configuration.
func (n node) prepare(others []node, pause string) error {
	registry := n.at(registryPort)
	folders := []string{
		n.runPath(), n.libPath("kubelet"), n.libPath("containerd"),
		n.configPath("cni"), n.configPath("certs.d", registry), n.configPath("podlogs"),
	}
	for _, f := range folders {
		if err := os.MkdirAll(f, 0o755); err != nil {
			return fmt.Errorf("%s: %w", n.name(), err)
		}
	}
	if err := connect(n, others); err != nil {
		return err
	}
	if err := makeCgroups(n.unique()); err != nil {
		return err
	}
	runc, err := exec.LookPath("runc")
	if err != nil {
		return fmt.Errorf("%s: %w", n.name(), err)
	}
	plugins, err := pluginFolder()
	if err != nil {
		return err
	}
	files := map[string]string{
		n.configPath("containerd.toml"):                 n.containerdConfig(pause, runc, plugins),
		n.configPath("certs.d", registry, "hosts.toml"): registryConfig(registry),
		n.configPath("cni", "10-sandbar.conflist"):      n.cniConfig(),
		n.configPath("kubelet.yaml"):                    n.kubeletConfig(),
		n.configPath("kube-proxy.yaml"):                 n.proxyConfig(),
	}
	for path, content := range files {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return fmt.Errorf("%s: %w", n.name(), err)
		}
	}
	return nil
}

// startContainerd starts a containerd of the node's own, whatever else of that
// name the machine runs: its root, state and socket are all others.
func (n node) startContainerd(ctx context.Context) error {
	path, err := exec.LookPath("containerd")
	if err != nil {
		return fmt.Errorf("%s: %w", n.name(), err)
	}
	p, err := n.table().Start(process.Command{
		Name: n.program("containerd"), Path: path, Netns: n.netns(),
		Argv: []string{"--config", n.configPath("containerd.toml")},
	})
	if err != nil {
		return err
	}
	return until(ctx, n.program("containerd"), p, func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", n.socket())
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

func (n node) startKubelet(cache binaries.Cache) (*process.Process, error) {
	return n.table().Start(process.Command{
		Name: n.program("kubelet"), Path: cache.Path(binaries.Kubernetes), Argv0: "kubelet", Netns: n.netns(),
		Argv: []string{
			"--config=" + n.configPath("kubelet.yaml"), "--kubeconfig=" + n.clientConfig(n.name()),
			"--hostname-override=" + n.name(), "--node-ip=" + n.address(),
			"--root-dir=" + n.libPath("kubelet"), "--cert-dir=" + n.configPath("kubelet-pki"),
			"--node-labels=" + nodeLabel + "=" + string(Real),
		},
	})
}

func (n node) startProxy(cache binaries.Cache) (*process.Process, error) {
	return n.table().Start(process.Command{
		Name: n.program("kube-proxy"), Path: cache.Path(binaries.Kubernetes), Argv0: "kube-proxy", Netns: n.netns(),
		Argv: []string{"--config=" + n.configPath("kube-proxy.yaml")},
	})
}

// ready waits for the node's Ready condition.
func ready(ctx context.Context, client kubernetes.Interface, name string, p *process.Process) error {
	return until(ctx, name, p, func(ctx context.Context) error {
		n, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
				return nil
			}
			if c.Type == corev1.NodeReady {
				err = fmt.Errorf("not ready: %s", strings.TrimSpace(c.Message))
			}
		}
		if err == nil {
			err = fmt.Errorf("it has not said how it is yet")
		}
		return err
	})
}

// pluginFolder is where the CNI plugins are: Debian's folder or the usual one.
func pluginFolder() (string, error) {
	for _, dir := range []string{"/usr/lib/cni", "/opt/cni/bin"} {
		if _, err := os.Stat(filepath.Join(dir, "bridge")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("the CNI plugins are neither in /usr/lib/cni nor in /opt/cni/bin")
}
