package objects

import (
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// Gateway is the shared Gateway that the routes of all sandboxes hang on.
type Gateway struct {
	Name      string
	Namespace string // "": the sandboxes' own
	Section   string // of its listeners; "": all
}

// apiKeyHeader opens the API, and is none of a sandbox's business. Some clients
// send it to sandboxes too.
const apiKeyHeader = "X-API-Key"

// HTTPRoutes are the routes of a sandbox: a rule leads all hosts of its route to
// one place, so each service has its own. The agent's comes last: when that one
// answers, a controller has seen the others.
func (c Config) HTTPRoutes(r *sandbox.Record) []*gatewayv1.HTTPRoute {
	var out []*gatewayv1.HTTPRoute
	for _, s := range routed {
		out = append(out, c.httpRoute(r, s))
	}
	return out
}

// HTTPRouteNames are the names of the routes of a sandbox.
func HTTPRouteNames(runtimeID string) []string {
	var out []string
	for _, s := range routed {
		out = append(out, httpRouteName(runtimeID, s))
	}
	return out
}

// routed are the services with a route of their own, in the order of their making.
var routed = []sandbox.Service{sandbox.ServiceVSCode, sandbox.ServiceWork1, sandbox.ServiceWork2, sandbox.ServiceAgent}

func httpRouteName(runtimeID string, s sandbox.Service) string {
	if s == sandbox.ServiceAgent {
		return runtimeID
	}
	return runtimeID + "-" + string(s)
}

func (c Config) httpRoute(r *sandbox.Record, s sandbox.Service) *gatewayv1.HTTPRoute {
	parent := gatewayv1.ParentReference{Name: gatewayv1.ObjectName(c.Gateway.Name)}
	if c.Gateway.Namespace != "" {
		parent.Namespace = new(gatewayv1.Namespace(c.Gateway.Namespace))
	}
	if c.Gateway.Section != "" {
		parent.SectionName = new(gatewayv1.SectionName(c.Gateway.Section))
	}
	backend := gatewayv1.HTTPBackendRef{BackendRef: gatewayv1.BackendRef{BackendObjectReference: gatewayv1.BackendObjectReference{
		Name: gatewayv1.ObjectName(r.RuntimeID), Port: new(gatewayv1.PortNumber(c.Ports.Of(s))),
	}}}
	return &gatewayv1.HTTPRoute{
		ObjectMeta: c.meta(r, httpRouteName(r.RuntimeID, s)),
		Spec: gatewayv1.HTTPRouteSpec{
			CommonRouteSpec: gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{parent}},
			Hostnames:       []gatewayv1.Hostname{gatewayv1.Hostname(c.URLs.Host(r.Route.Label, s))},
			Rules: []gatewayv1.HTTPRouteRule{{
				Filters: []gatewayv1.HTTPRouteFilter{{
					Type:                  gatewayv1.HTTPRouteFilterRequestHeaderModifier,
					RequestHeaderModifier: &gatewayv1.HTTPHeaderFilter{Remove: []string{apiKeyHeader}},
				}},
				BackendRefs: []gatewayv1.HTTPBackendRef{backend},
				// None: a request to a sandbox may take as long as the agent works.
				Timeouts: &gatewayv1.HTTPRouteTimeouts{Request: new(gatewayv1.Duration("0s"))},
			}},
		},
	}
}
