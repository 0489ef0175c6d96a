package httpapi

import (
	"net/http"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// agedAfter is when the views are called old: the heartbeat comes once a
// second.
const agedAfter = 5 * time.Second

// alive asks nothing of anyone: a probe must not restart a process for the
// trouble of another.
func alive(*call) (any, error) { return map[string]string{"status": "ok"}, nil }

type readiness struct {
	Status       string             `json:"status"` // ok, degraded, unready
	Detail       string             `json:"detail,omitempty"`
	Error        sandbox.Code       `json:"error,omitempty"`
	NATS         natsState          `json:"nats"`
	Views        viewsState         `json:"views"`
	Provisioners provisionersStatus `json:"provisioners"`
}

type natsState struct {
	Connected bool   `json:"connected"`
	Detail    string `json:"detail,omitempty"`
}

type viewsState struct {
	Complete  bool   `json:"complete"` // this process once held all of them
	AgeMS     int64  `json:"age_ms"`   // since the last heartbeat; -1: none came
	Leader    string `json:"leader"`
	Sandboxes int    `json:"sandboxes"`
}

type provisionersStatus struct {
	Present bool `json:"present"`
}

// readiness is 503 only while this process can answer nothing better than
// another. What troubles all alike is told with 200, else all were taken out of
// service at once.
func (a *api) readiness(*call) (any, error) {
	s, down := a.Views.Status(), a.Checks.NATS()
	r := readiness{
		Status: "ok", NATS: natsState{Connected: down == nil},
		Views:        viewsState{Complete: s.Ready, AgeMS: -1, Leader: s.Leader, Sandboxes: s.Sandboxes},
		Provisioners: provisionersStatus{Present: a.Checks.Provisioners()},
	}
	if s.Age >= 0 {
		r.Views.AgeMS = s.Age.Milliseconds()
	}
	if down != nil {
		r.NATS.Detail = down.Error()
	}
	if down != nil || s.Age < 0 || s.Age > agedAfter || !r.Provisioners.Present {
		r.Status = "degraded"
	}
	switch {
	case a.Checks.Draining():
		r.Detail = "the process is stopping"
	case a.Checks.Denied():
		r.Detail = "NATS denies what the gateway needs"
	case !s.Ready:
		r.Detail = "the state of all sandboxes was never complete yet"
	default:
		return r, nil
	}
	r.Status, r.Error = "unready", sandbox.CodeUnavailable
	return withStatus{http.StatusServiceUnavailable, r}, nil
}
