package sandbox

import (
	"maps"
	"slices"
	"time"
)

// Status is the first of the two words by which clients know a sandbox's phase.
type Status string

// The statuses of docs/contract.md 3.1.
const (
	StatusStarting Status = "starting"
	StatusRunning  Status = "running"
	StatusPaused   Status = "paused"
	StatusStopped  Status = "stopped"
	StatusError    Status = "error"
)

// PodStatus is the second word.
type PodStatus string

// The pod statuses of docs/contract.md 3.1. "unknown" is never used: it is fatal for
// clients.
const (
	PodNotFound  PodStatus = "not found"
	PodPending   PodStatus = "pending"
	PodRunning   PodStatus = "running"
	PodReady     PodStatus = "ready"
	PodFailed    PodStatus = "failed"
	PodCrashLoop PodStatus = "crashloopbackoff"
)

// EventType is the kind of a lifecycle event.
type EventType string

// The events.
const (
	EventRequested EventType = "requested" // a new sandbox was accepted
	EventStarting  EventType = "starting"  // it has a pod
	EventReady     EventType = "ready"     // it serves
	EventUnready   EventType = "unready"   // it served, and does not now
	EventPaused    EventType = "paused"
	EventResumed   EventType = "resumed" // paused or failed before, accepted to run again
	EventStopped   EventType = "stopped"
	EventFailed    EventType = "failed"   // with a reason
	EventRestored  EventType = "restored" // the view was lost and made again
)

// Transition is one step of a sandbox's life, carried in the view until it is
// published as an event.
type Transition struct {
	RuntimeID string    `json:"runtime_id"`
	Number    int64     `json:"number"` // 1, 2, 3 … of this runtime id
	Type      EventType `json:"type"`
	Time      time.Time `json:"time"`
	Reason    string    `json:"reason,omitempty"`
}

// View is what readers see of a sandbox: the contract's runtime object, and
// what the router needs. It is a function of what Kubernetes holds.
type View struct {
	Record    string `json:"record"`
	RecordUID string `json:"record_uid"`
	Tenant    string `json:"tenant"`
	SessionID string `json:"session_id"`
	RuntimeID string `json:"runtime_id"`

	Generation  int64  `json:"generation"`
	Incarnation int64  `json:"incarnation"`
	Order       uint64 `json:"order"` // see Newer
	LastCommand string `json:"last_command,omitempty"`

	Status       Status    `json:"status"`
	PodStatus    PodStatus `json:"pod_status"`
	StatusDetail string    `json:"status_detail,omitempty"`

	Route      Route  `json:"route"`
	Address    string `json:"address,omitempty"` // pod IP, while a pod of this incarnation has one
	SessionKey string `json:"-"`                 // travels sealed, see pkg/contract
	SealedKey  string `json:"sealed_key,omitempty"`

	RestartCount   int      `json:"restart_count"`
	RestartReasons []string `json:"restart_reasons,omitempty"`
	PodLogs        string   `json:"pod_logs,omitempty"`

	Image     string    `json:"image,omitempty"`
	CreatedAt time.Time `json:"created_at"`

	// Served: it has been ready once since its last start or resume.
	Served bool `json:"served,omitempty"`

	// UnreadySince is when a sandbox that was ready stopped being so, while
	// readers are still told that it runs.
	UnreadySince time.Time `json:"unready_since,omitzero"`

	// RouteCheck is what is known of the pod's public URL, where that is asked.
	RouteCheck RouteCheck `json:"route_check,omitempty"`

	Transitions []Transition `json:"transitions,omitempty"` // the newest last
}

// Clone returns a copy that shares nothing.
func (v *View) Clone() *View {
	if v == nil {
		return nil
	}
	c := *v
	c.Route = v.Route.Clone()
	c.RestartReasons = slices.Clone(v.RestartReasons)
	c.Transitions = slices.Clone(v.Transitions)
	return &c
}

// Refused says of a sandbox that waits for a pod why it gets none. Observe keeps
// it until there is one.
func (v *View) Refused(why string) {
	if why != "" && v.Status == StatusStarting && v.PodStatus == PodNotFound {
		v.StatusDetail = cut(why)
	}
}

// Newer compares two views of one record by (generation, incarnation, order):
// above 0 if a is newer than b, below 0 if it is older. Order is a resourceVersion: of
// a sandbox that is to run the pod's or, where there is none, that of the list that
// showed it; of any other the record's, of which alone such a view is made. So only
// what stands beside each other in etcd is compared.
func Newer(a, b *View) int {
	switch {
	case a.Generation != b.Generation:
		return sign(a.Generation > b.Generation)
	case a.Incarnation != b.Incarnation:
		return sign(a.Incarnation > b.Incarnation)
	case a.Order != b.Order:
		return sign(a.Order > b.Order)
	}
	return 0
}

func sign(above bool) int {
	if above {
		return 1
	}
	return -1
}

// SameForReaders reports whether a reader, the router or a later Observe could
// not tell a from b. What changes nothing for them is not written.
func SameForReaders(a, b *View) bool {
	return a.RecordUID == b.RecordUID && a.RuntimeID == b.RuntimeID &&
		a.Generation == b.Generation && a.Incarnation == b.Incarnation &&
		a.LastCommand == b.LastCommand &&
		a.Status == b.Status && a.PodStatus == b.PodStatus && a.StatusDetail == b.StatusDetail &&
		a.Address == b.Address && a.SessionKey == b.SessionKey &&
		a.RestartCount == b.RestartCount && slices.Equal(a.RestartReasons, b.RestartReasons) &&
		a.PodLogs == b.PodLogs && a.Image == b.Image &&
		a.Route.Label == b.Route.Label && a.Route.URL == b.Route.URL &&
		maps.Equal(a.Route.WorkHosts, b.Route.WorkHosts) &&
		a.Served == b.Served && a.UnreadySince.Equal(b.UnreadySince) && a.RouteCheck == b.RouteCheck
}
