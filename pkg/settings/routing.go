package settings

import (
	"errors"
	"fmt"
)

// The ways in. By all but the router a controller of the cluster leads to
// sandboxes, and each sandbox has a Service and routes of its own.
const (
	ByRouter     = "router"
	ByIngress    = "ingress"
	ByGatewayAPI = "gateway-api"
)

// Routing says who leads to sandboxes. The provisioner makes their routes by it,
// and the watcher looks whether these work.
type Routing struct {
	Mode  string `env:"ROUTING_MODE" envDefault:"router"`
	Check bool   `env:"ROUTE_CHECK" envDefault:"true"`
}

// ByController reports whether a controller of the cluster leads to sandboxes.
func (r Routing) ByController() bool { return r.Mode != ByRouter }

// Verify reports whether a sandbox is called ready only after its public URL has
// answered. The router needs no such check: it knows what it leads to.
func (r Routing) Verify() bool { return r.ByController() && r.Check }

// Validate lists all that is wrong, given how public URLs are made.
func (r Routing) Validate(u URL) error {
	switch r.Mode {
	case ByRouter:
		return nil
	case ByIngress, ByGatewayAPI:
	default:
		return fmt.Errorf("ROUTING_MODE is %q, must be %s, %s or %s", r.Mode, ByRouter, ByIngress, ByGatewayAPI)
	}
	if u.RoutingMode == ModePath {
		return errors.New("ROUTING_MODE is " + r.Mode + ", which leads by host: RUNTIME_ROUTING_MODE must be subdomain")
	}
	return nil
}
