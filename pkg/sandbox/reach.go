package sandbox

import "strconv"

// Reach is what a look at a sandbox's public URL came to, where a controller of
// the cluster leads there: an Ingress or an HTTPRoute. "" is: nobody looked yet.
type Reach string

// What a look can come to. All but Reached are what clients know the failure by
// (docs/contract.md 7.4).
const (
	Reached         Reach = "ok"
	ReachDNS        Reach = "dns_error"         // the host has no address
	ReachTLS        Reach = "tls_error"         // no handshake, or a certificate that is not trusted
	ReachTimeout    Reach = "timeout"           // no whole answer in time
	ReachConnection Reach = "connection_error"  // nobody listens, or it broke off
	ReachRequest    Reach = "request_error"     // the URL is none that may be asked
	ReachResponse   Reach = "invalid_response"  // what came is no HTTP
	ReachUnexpected Reach = "unexpected_status" // neither success nor an error: a redirect, for example
)

const (
	reachStatus = "http_status:" // and the status
	routeDetail = "runtime_ingress:"
)

// ReachOfStatus is the reach of an answer with this HTTP status.
func ReachOfStatus(code int) Reach {
	switch {
	case code >= 200 && code < 300:
		return Reached
	case code >= 400 && code < 600:
		return Reach(reachStatus + strconv.Itoa(code))
	}
	return ReachUnexpected
}

// RouteCheck is how far the check of a pod's public URL has come; "" where no URL
// is asked, or the pod is not ready yet.
type RouteCheck string

// The steps of a route's check.
const (
	RouteUnknown  RouteCheck = "unknown" // the pod is ready, and nothing is known of its URL
	RouteFails    RouteCheck = "fails"   // the URL was asked and did not answer
	RouteVerified RouteCheck = "verified"
)

// verifyRoute keeps a pod that is ready from being called so until its public
// URL has answered. One answer is enough: a controller that fails later fails for
// all, and to call what runs starting would only have clients start it again.
func verifyRoute(v *View, p *Pod, prev *View) {
	if v.RouteCheck == RouteVerified || p.Reach == Reached {
		v.RouteCheck = RouteVerified
		return
	}
	v.Status, v.PodStatus, v.RouteCheck = StatusStarting, PodRunning, RouteUnknown
	switch {
	case p.Reach != "":
		v.RouteCheck, v.StatusDetail = RouteFails, routeDetail+string(p.Reach)
	case prev != nil && prev.RouteCheck == RouteFails: // not every writer asks
		v.RouteCheck, v.StatusDetail = RouteFails, prev.StatusDetail
	}
}

// Trust takes the route for verified in a view that is made for a bucket which
// was emptied under its sandbox. It was verified before, but for a moment at the
// start of the pod's life, and a sandbox that runs must not be called starting
// because NATS lost what was known of it. A route that is known to fail is not
// trusted.
func Trust(v *View) {
	if v.RouteCheck == RouteUnknown {
		v.Status, v.PodStatus, v.RouteCheck, v.Served = StatusRunning, PodReady, RouteVerified, true
	}
}
