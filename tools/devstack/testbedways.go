package main

import (
	"context"

	"github.com/sandbar-io/sandbar/pkg/settings"
	"github.com/sandbar-io/sandbar/tools/devcluster/cluster"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
	"github.com/sandbar-io/sandbar/tools/internal/pki"
)

// The stacks to whose sandboxes a controller leads, by Ingresses with TLS and by
// HTTPRoutes without.
const (
	ingressStack = "ingress"
	gatewayStack = "gatewayapi"
)

// controlled adds to the options of a stack what puts a controller before it.
func (b bed) controlled(ctx context.Context, o cluster.Options, mode string, so *stack.Options) error {
	so.Settings = append(so.Settings, "ROUTING_MODE="+mode)
	so.Bin = b.path("test", "main", "bin") // the same programs
	path, err := cluster.Traefik(ctx, o)
	if err != nil {
		return err
	}
	so.Controller.Traefik = path
	if mode == settings.ByGatewayAPI {
		return nil
	}
	authority, err := pki.New(b.path("test", "pki-"+ingressStack))
	if err != nil {
		return err
	}
	base := so.Cluster.BaseDomain
	if err := authority.Issue("wildcard", pki.Subject{CommonName: base, DNSNames: []string{base, "*." + base}}); err != nil {
		return err
	}
	so.Settings = append(so.Settings, "URL_SCHEME=https")
	so.Controller.Cert, so.Controller.Key = authority.Path("wildcard.crt"), authority.Path("wildcard.key")
	so.Controller.CA = authority.Path("ca.crt")
	return nil
}

// controlledEnv tells the tests of a stack behind a controller.
func controlledEnv(env map[string]string, prefix string, s *stack.Stack) {
	own := s.Env("")
	for _, name := range []string{"API_URL", "API_KEY", "ROUTER_URL", "NAMESPACE"} {
		env[prefix+"_"+name] = own[name]
	}
	env[prefix+"_CA_FILE"] = s.Controller.CA
}
