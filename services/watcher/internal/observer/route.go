package observer

import (
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/watcher/internal/reach"
)

// Routes asks whether public URLs answer, and has a key looked at when there is
// something new.
type Routes interface {
	Ask(key string, route reach.Route)
	Seen(key string, incarnation int64) sandbox.Reach
	Drop(key string)
}

// reached tells the pod what is known of its public URL. What this observer has
// once seen verified is so without the bucket too, which may have been emptied.
func (o *Observer) reached(key string, r *sandbox.Record, pod *sandbox.Pod, m *memory) {
	if o.cfg.Routes == nil || pod == nil {
		return
	}
	pod.Reach = o.cfg.Routes.Seen(key, r.Incarnation)
	if m.verified == pod.UID {
		pod.Reach = sandbox.Reached
	}
}

// route has the public URL asked as long as the view that is shown wants to know.
func (o *Observer) route(key string, r *sandbox.Record, pod *sandbox.Pod, m *memory, shown *sandbox.View) {
	if o.cfg.Routes == nil {
		return
	}
	check := sandbox.RouteCheck("")
	if pod != nil && shown.RecordUID == r.UID && shown.Incarnation == r.Incarnation {
		check = shown.RouteCheck
	}
	switch check {
	case sandbox.RouteVerified:
		m.verified = pod.UID
		o.cfg.Routes.Drop(key)
	case sandbox.RouteUnknown, sandbox.RouteFails:
		o.cfg.Routes.Ask(key, reach.Route{Incarnation: r.Incarnation, RuntimeID: r.RuntimeID, URL: r.Route.URL})
	default:
		o.cfg.Routes.Drop(key)
	}
}
