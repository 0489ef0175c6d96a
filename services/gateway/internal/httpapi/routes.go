package httpapi

import (
	"io"
	"net/http"
	"strings"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// handler answers a request with what is to be sent as JSON, or an error.
type handler func(*call) (any, error)

type route struct {
	name    string // in metrics and logs
	path    string
	methods []string // none: all of them
	open    bool     // needs no API key
	changes bool     // one line of log for each request
	handle  handler
}

var (
	get  = []string{http.MethodGet, http.MethodHead}
	post = []string{http.MethodPost}
)

// routes are matched in this order, one after the other: what is asked for most
// comes first, and a session called batch cannot be had by its id.
func (a *api) routes() []route {
	return []route{
		{name: "runtime", path: "/runtime/{id}", methods: get, handle: a.runtime},
		{name: "batch", path: "/sessions/batch", methods: get, handle: a.sessionsBatch},
		{name: "session", path: "/sessions/{id}", methods: get, handle: a.session},
		{name: "list", path: "/list", methods: get, handle: a.tenantList},
		{name: "start", path: "/start", methods: post, changes: true, handle: a.start},
		{name: "stop", path: "/stop", methods: post, changes: true, handle: a.change(sandbox.Stop)},
		{name: "pause", path: "/pause", methods: post, changes: true, handle: a.change(sandbox.Pause)},
		{name: "resume", path: "/resume", methods: post, changes: true, handle: a.change(sandbox.Resume)},
		{name: "registry_prefix", path: "/registry_prefix", methods: get, handle: a.registryPrefix},
		{name: "image_exists", path: "/image_exists", methods: get, handle: a.imageExists},
		{name: "warm_configs", path: "/api/warm-runtime-configs", methods: get, handle: a.warmConfigs},
		{name: "build", path: "/build", methods: post, handle: noBuild},
		{name: "build_status", path: "/build_status", methods: get, handle: noBuild},
		{name: "admin", path: "/api/admin{rest:(?:/.*)?}", open: true, handle: noAdmin},
		{name: "health", path: "/health", methods: get, open: true, handle: alive},
		{name: "liveness", path: "/liveness", methods: get, open: true, handle: alive},
		{name: "readiness", path: "/readiness", methods: get, open: true, handle: a.readiness},
	}
}

// otherMethods is the route that answers what the path does not offer.
func (rt route) otherMethods() route {
	allow := strings.Join(rt.methods, ", ")
	return route{name: rt.name, path: rt.path, open: true, handle: func(c *call) (any, error) {
		c.header.Set("Allow", allow)
		return noMethod(c)
	}}
}

func noMethod(c *call) (any, error) {
	return nil, sandbox.Errorf(sandbox.CodeMethod, "%s does not take %.16s", c.r.URL.Path, c.r.Method)
}

func noEndpoint(*call) (any, error) {
	return nil, sandbox.Errorf(sandbox.CodeNotFound, "there is no such endpoint")
}

// maxContext is how much of a build context is read to no end, in bytes: a client
// that still sends when the connection is closed never reads the answer.
const maxContext = 64 << 20

func noBuild(c *call) (any, error) {
	_, _ = io.CopyN(io.Discard, c.r.Body, maxContext) // it may end early, or the client be gone
	return nil, sandbox.Errorf(sandbox.CodeNotSupported, "this server builds no images")
}

// noAdmin answers whoever asks: the admin API has a login of its own, so that an
// API key neither opens it nor is wanted.
func noAdmin(*call) (any, error) {
	return nil, sandbox.Errorf(sandbox.CodeForbidden, "the admin API is off")
}

// warmConfigs is read before every conversation by clients that look for one:
// none is an answer, an error would stop them.
func (a *api) warmConfigs(*call) (any, error) {
	return map[string]any{"configs": a.Warm.Configs()}, nil
}
