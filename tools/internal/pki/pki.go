// Package pki makes the certificates, keys and kubeconfigs of one cluster, and
// certificates for tests. They live as long as the cluster, which is made anew by
// every up.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// life of all certificates. A development cluster that runs longer is unheard of.
const life = 365 * 24 * time.Hour

// Authority signs for one cluster and keeps everything in one folder.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// New makes a certificate authority in dir: ca.crt and ca.key.
func New(dir string) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	template, err := blank("sandbar-devcluster", nil)
	if err != nil {
		return nil, err
	}
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature
	a := &Authority{dir: dir, cert: template, key: key}
	if a.cert, err = a.sign(template, key, "ca"); err != nil {
		return nil, err
	}
	return a, nil
}

// Subject is whom a certificate is for. Organizations are groups to the API server.
type Subject struct {
	CommonName    string
	Organizations []string
	DNSNames      []string
	IPs           []net.IP
}

// Issue writes NAME.crt and NAME.key, good for clients and for servers.
func (a *Authority) Issue(name string, s Subject) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", name, err)
	}
	template, err := blank(s.CommonName, s.Organizations)
	if err != nil {
		return err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	template.DNSNames, template.IPAddresses = s.DNSNames, s.IPs
	_, err = a.sign(template, key, name)
	return err
}

func blank(commonName string, organizations []string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("serial number: %w", err)
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: commonName, Organization: organizations},
		NotBefore:    now.Add(-time.Hour), // a clock that is set back a little does no harm
		NotAfter:     now.Add(life),
	}, nil
}

func (a *Authority) sign(template *x509.Certificate, key *ecdsa.PrivateKey, name string) (*x509.Certificate, error) {
	raw, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", name, err)
	}
	if err := a.write(name+".crt", "CERTIFICATE", raw); err != nil {
		return nil, err
	}
	if err := a.writeKey(name, key); err != nil {
		return nil, err
	}
	return x509.ParseCertificate(raw)
}

// ServiceAccountKeys writes sa.key and sa.pub, which sign and check the tokens
// of service accounts.
func (a *Authority) ServiceAccountKeys() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("service account key: %w", err)
	}
	if err := a.writeKey("sa", key); err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("service account key: %w", err)
	}
	return a.write("sa.pub", "PUBLIC KEY", public)
}

func (a *Authority) writeKey(name string, key crypto.PrivateKey) error {
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("key %s: %w", name, err)
	}
	return a.write(name+".key", "PRIVATE KEY", raw)
}

func (a *Authority) write(file, kind string, raw []byte) error {
	block := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw})
	if err := os.WriteFile(a.Path(file), block, 0o600); err != nil {
		return fmt.Errorf("certificates: %w", err)
	}
	return nil
}

// Path is where a file of this authority lies.
func (a *Authority) Path(file string) string { return filepath.Join(a.dir, file) }

// Kubeconfig writes a kubeconfig that holds its certificates itself, so that it
// can be copied anywhere.
func (a *Authority) Kubeconfig(path, name, server string) error {
	read := func(file string) []byte {
		raw, err := os.ReadFile(a.Path(file))
		if err != nil {
			return nil // caught below: clientcmd refuses empty data
		}
		return raw
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["sandbar"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: read("ca.crt")}
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{
		ClientCertificateData: read(name + ".crt"),
		ClientKeyData:         read(name + ".key"),
	}
	config.Contexts["sandbar"] = &clientcmdapi.Context{Cluster: "sandbar", AuthInfo: name}
	config.CurrentContext = "sandbar"
	if len(config.AuthInfos[name].ClientKeyData) == 0 {
		return fmt.Errorf("kubeconfig %s: no certificate of that name", name)
	}
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return fmt.Errorf("kubeconfig %s: %w", name, err)
	}
	return nil
}
