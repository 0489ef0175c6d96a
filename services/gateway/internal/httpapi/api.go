// Package httpapi is the HTTP contract of OpenHands clients: routes, bodies,
// answers and errors. What a request does is decided elsewhere.
package httpapi

import (
	"context"
	"net/http"
	"slices"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/obs"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
	"github.com/sandbar-io/sandbar/services/gateway/internal/command"
	"github.com/sandbar-io/sandbar/services/gateway/internal/keys"
	"github.com/sandbar-io/sandbar/services/gateway/internal/registry"
	"github.com/sandbar-io/sandbar/services/gateway/internal/warm"
)

// Options are what an operator may choose.
type Options struct {
	RegistryPrefix string
	DefaultImage   string // where a start names none; "": it must
	ResumeActive   int    // 200 or 409, see keys.Key
}

// Keys finds API keys.
type Keys interface {
	Find(presented string) (keys.Key, bool)
}

// Views is what is known of all sandboxes.
type Views interface {
	Memory() *views.Memory
	ReadIndex(context.Context) error
	Status() views.Status
}

// Commands carries out what changes a sandbox.
type Commands interface {
	Do(context.Context, sandbox.Command, command.Origin) (*sandbox.View, error)
}

// Claims hears which sandboxes clients ask for.
type Claims interface {
	Claim(v *sandbox.View)
}

// Images asks registries.
type Images interface {
	Find(ctx context.Context, reference string) (*registry.Image, error)
}

// Warm are the warm-runtime configs.
type Warm interface {
	Configs() []warm.Config
}

// Checks tell how the process is.
type Checks struct {
	NATS         func() error // why the bus cannot be used now
	Denied       func() bool  // the bus refuses what the gateway needs
	Provisioners func() bool
	Draining     func() bool
}

// Needs are the parts behind the API.
type Needs struct {
	Keys     Keys
	Views    Views
	Commands Commands
	Claims   Claims
	Images   Images
	Warm     Warm
	Checks   Checks
	Metrics  *prometheus.Registry
	Log      *zap.Logger
}

type api struct {
	Needs
	Options
	metrics *metrics
}

// New returns the API.
func New(n Needs, o Options) http.Handler {
	a := &api{Needs: n, Options: o, metrics: newMetrics(n)}
	// A session id is any text, %2F and dots included: paths are matched as
	// they were sent.
	m := mux.NewRouter().SkipClean(true).UseEncodedPath()
	for _, rt := range a.routes() {
		here := m.Handle(rt.path, a.serve(rt))
		if len(rt.methods) > 0 {
			here.Methods(slices.Clone(rt.methods)...) // mux writes to it
			m.Handle(rt.path, a.serve(rt.otherMethods()))
		}
	}
	m.Handle("/metrics", obs.Handler(n.Metrics)).Methods(http.MethodGet)
	m.NotFoundHandler = a.serve(route{name: "unknown", open: true, handle: noEndpoint})
	m.MethodNotAllowedHandler = a.serve(route{name: "unknown", open: true, handle: noMethod})
	return m
}
