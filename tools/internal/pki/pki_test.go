package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/sandbar-io/sandbar/tools/internal/pki"
)

func TestIssuedCertificateServesAndIdentifies(t *testing.T) {
	t.Parallel()
	a, err := pki.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ip := net.IPv4(10, 200, 0, 1)
	err = a.Issue("node1", pki.Subject{
		CommonName: "system:node:node1", Organizations: []string{"system:nodes"},
		DNSNames: []string{"node1"}, IPs: []net.IP{ip},
	})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(a.Path("node1.crt"), a.Path("node1.key"))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	ca, err := os.ReadFile(a.Path("ca.crt"))
	if err != nil || !roots.AppendCertsFromPEM(ca) {
		t.Fatalf("ca.crt: %v", err)
	}
	for _, name := range []string{"node1", ip.String()} {
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			_, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, KeyUsages: []x509.ExtKeyUsage{usage}})
			if err != nil {
				t.Errorf("for %s and usage %d: %v", name, usage, err)
			}
		}
	}
	if cert.Subject.CommonName != "system:node:node1" || cert.Subject.Organization[0] != "system:nodes" {
		t.Errorf("subject %v", cert.Subject)
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: "node2"}); err == nil {
		t.Error("the certificate is good for another name as well")
	}
}

func TestKubeconfigStandsAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, err := pki.New(filepath.Join(dir, "pki"))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Issue("admin", pki.Subject{CommonName: "admin", Organizations: []string{"system:masters"}}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "kubeconfig")
	if err := a.Kubeconfig(path, "admin", "https://10.200.0.1:6443"); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "pki")); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	if config.Host != "https://10.200.0.1:6443" || len(config.CAData) == 0 || len(config.CertData) == 0 || len(config.KeyData) == 0 {
		t.Errorf("host %q, sizes %d %d %d", config.Host, len(config.CAData), len(config.CertData), len(config.KeyData))
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600: it holds a key", info.Mode(), err)
	}
	if err := a.Kubeconfig(path, "nobody", "https://x"); err == nil {
		t.Error("a kubeconfig without a certificate was written")
	}
}

func TestServiceAccountKeysArePair(t *testing.T) {
	t.Parallel()
	a, err := pki.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := a.ServiceAccountKeys(); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"sa.key", "sa.pub"} {
		raw, err := os.ReadFile(a.Path(file))
		if err != nil {
			t.Fatal(err)
		}
		if block, _ := pem.Decode(raw); block == nil {
			t.Errorf("%s is not PEM", file)
		}
	}
}
