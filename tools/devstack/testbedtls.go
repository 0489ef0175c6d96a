package main

import (
	"path/filepath"

	"github.com/sandbar-io/sandbar/tools/devstack/stack"
	"github.com/sandbar-io/sandbar/tools/internal/pki"
)

// The stack tls: gateway and routers end TLS themselves. Its second router reads
// sandboxes from paths, whatever their own URLs say.
const (
	tlsStack   = "tls"
	pathRouter = "router-1"
)

// secureStack adds to the options of the stack tls what makes it so.
func (b bed) secureStack(so *stack.Options) error {
	base := so.Cluster.BaseDomain
	authority, err := pki.New(b.path("test", "pki"))
	if err != nil {
		return err
	}
	if err := authority.Issue("wildcard", pki.Subject{CommonName: base, DNSNames: []string{base, "*." + base}}); err != nil {
		return err
	}
	cert, key := authority.Path("wildcard.crt"), authority.Path("wildcard.key")
	so.Settings = append(so.Settings, "URL_SCHEME=https", "TLS_CERT_FILE="+cert, "TLS_KEY_FILE="+key)
	so.Routers = 2
	so.Own = map[string][]string{pathRouter: {"RUNTIME_ROUTING_MODE=path"}}
	return nil
}

// secureEnv tells the tests of the stack tls.
func (b bed) secureEnv(env map[string]string, s *stack.Stack) {
	own := s.Env("")
	env["TLS_API_URL"], env["TLS_API_KEY"], env["TLS_ROUTER_URL"] = own["API_URL"], own["API_KEY"], own["ROUTER_URL"]
	env["TLS_PATH_ROUTER_URL"] = s.Services[pathRouter].URL
	env["TLS_ROUTER_METRICS"] = s.Of("router")[0].Health + "/metrics"
	env["TLS_CA_FILE"] = filepath.Join(b.path("test", "pki"), "ca.crt")
}
