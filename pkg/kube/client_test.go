package kube_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/kube"
)

const kubeconfig = `apiVersion: v1
kind: Config
clusters:
- name: c
  cluster: {server: "https://127.0.0.1:6443"}
contexts:
- name: c
  context: {cluster: c, user: u}
current-context: c
users:
- name: u
  user: {token: "t"}
`

func TestClientConfig(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := kube.ClientConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.Host != "https://127.0.0.1:6443" || c.QPS >= 0 || c.BearerToken != "t" || c.UserAgent == "" {
		t.Errorf("%+v", c)
	}
	if _, err := kube.ClientConfig(path + "x"); err == nil {
		t.Error("a missing file is accepted")
	}
}
