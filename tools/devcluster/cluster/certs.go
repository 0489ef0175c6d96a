package cluster

import (
	"fmt"
	"net"
	"os"

	"github.com/sandbar-io/sandbar/tools/internal/pki"
)

const masters = "system:masters"

// certify makes all certificates and kubeconfigs of a cluster. The admin's
// kubeconfig is the one others get to see; the rest lie with their keys.
func certify(l layout, nodes []node) error {
	authority, err := pki.New(l.path("pki"))
	if err != nil {
		return err
	}
	if err := authority.ServiceAccountKeys(); err != nil {
		return err
	}
	host := net.IP(l.host().AsSlice())
	subjects := map[string]pki.Subject{
		"apiserver": {
			CommonName: "kube-apiserver",
			DNSNames:   []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
			IPs:        []net.IP{host, net.IPv4(127, 0, 0, 1), l.apiService()},
		},
		"apiserver-kubelet": {CommonName: "kube-apiserver-kubelet-client", Organizations: []string{masters}},
		"front-proxy":       {CommonName: "front-proxy-client"},
		"admin":             {CommonName: "admin", Organizations: []string{masters}},
		"controller":        {CommonName: "system:kube-controller-manager"},
		"scheduler":         {CommonName: "system:kube-scheduler"},
		"proxy":             {CommonName: "system:kube-proxy"},
	}
	clients := []string{"admin", "controller", "scheduler", "proxy"}
	for _, n := range nodes {
		subjects[n.name()] = pki.Subject{
			CommonName: "system:node:" + n.name(), Organizations: []string{"system:nodes"},
			DNSNames: []string{n.name()}, IPs: []net.IP{net.ParseIP(n.address())},
		}
		clients = append(clients, n.name())
	}
	for name, subject := range subjects {
		if err := authority.Issue(name, subject); err != nil {
			return err
		}
	}
	for _, name := range clients {
		if err := authority.Kubeconfig(l.clientConfig(name), name, l.apiURL()); err != nil {
			return err
		}
	}
	raw, err := os.ReadFile(l.clientConfig("admin"))
	if err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	if err := os.WriteFile(l.kubeconfig(), raw, 0o600); err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	return nil
}

func (l layout) clientConfig(name string) string { return l.path("pki", name+".kubeconfig") }

func (l layout) cert(file string) string { return l.path("pki", file) }
