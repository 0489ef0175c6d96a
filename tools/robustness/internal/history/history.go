// Package history is what a run records: who did what when, and what everybody
// saw. It is all that the checks look at.
package history

import (
	"slices"
	"time"
)

// Verb is what a client asked for.
type Verb string

// The verbs: the first four change a sandbox, the others read.
const (
	Start   Verb = "start"
	Pause   Verb = "pause"
	Resume  Verb = "resume"
	Stop    Verb = "stop"
	Session Verb = "session"
	Runtime Verb = "runtime"
	List    Verb = "list"
	Batch   Verb = "batch"
)

// Changes reports whether the verb changes a sandbox.
func (v Verb) Changes() bool { return v == Start || v == Pause || v == Resume || v == Stop }

// Outcome is what a client can conclude from an answer.
type Outcome string

// The outcomes.
const (
	OK      Outcome = "ok"
	Absent  Outcome = "absent"  // 404
	Refused Outcome = "refused" // another 4xx
	// Unknown is a 5xx, a 409 (another command came between) or no answer: it may
	// have happened, may happen yet, or never.
	Unknown Outcome = "unknown"
	// Malformed is an answer that no client can read.
	Malformed Outcome = "malformed"
)

// Op is one request of a client.
type Op struct {
	Client string `json:"client"`
	// Gateway is a process: gateway-0/2 is the third of its name.
	Gateway   string        `json:"gateway"`
	Verb      Verb          `json:"verb"`
	Tenant    string        `json:"tenant"`
	Session   string        `json:"session,omitempty"`    // of what is asked or changed; none in lists and batches
	RuntimeID string        `json:"runtime_id,omitempty"` // that the request named
	Runs      string        `json:"runs,omitempty"`       // what a start asks for: an image, and a word that no other start has
	Invoked   time.Duration `json:"invoked"`              // since the run began, as all times
	Returned  time.Duration `json:"returned"`
	Outcome   Outcome       `json:"outcome"`
	HTTP      int           `json:"http,omitempty"`
	Problem   string        `json:"problem,omitempty"`
	Seen      []Seen        `json:"seen,omitempty"`
	Aged      bool          `json:"aged,omitempty"` // a list that says itself that it could not be confirmed
}

// Seen is one sandbox in an answer. A list or batch has one for each session that
// was asked for.
type Seen struct {
	Session   string `json:"session"`
	RuntimeID string `json:"runtime_id,omitempty"`
	Status    string `json:"status,omitempty"`
	PodStatus string `json:"pod_status,omitempty"`
	Detail    string `json:"detail,omitempty"`
	Absent    bool   `json:"absent,omitempty"`
}

// Pod is one step of a watch of all pods at the API server.
type Pod struct {
	At     time.Duration `json:"at"`
	Record string        `json:"record"`         // of the session
	Runs   string        `json:"runs,omitempty"` // as in Op
	Name   string        `json:"name"`
	UID    string        `json:"uid"`
	Gone   bool          `json:"gone,omitempty"`
	Ending bool          `json:"ending,omitempty"`
	Node   string        `json:"node,omitempty"` // "": it waits for one
	Phase  string        `json:"phase"`
	// Again begins a list that replaces all that was seen before.
	Again bool `json:"again,omitempty"`
}

// Event is one message of the event stream.
type Event struct {
	At        time.Duration `json:"at"`
	Epoch     int64         `json:"epoch"` // when the stream was made, unix nanoseconds
	Sequence  uint64        `json:"sequence"`
	ID        string        `json:"id"`
	RuntimeID string        `json:"runtime_id"`
	Number    int64         `json:"number"`
	Type      string        `json:"type"`
	Gap       bool          `json:"gap,omitempty"` // it says that some before it will never come
}

// View is one value of the view bucket.
type View struct {
	At          time.Duration `json:"at"`
	Epoch       int64         `json:"epoch"`
	Sequence    uint64        `json:"sequence"`
	Key         string        `json:"key"`
	RuntimeID   string        `json:"runtime_id"`
	Status      string        `json:"status"`
	Generation  int64         `json:"generation"`
	Incarnation int64         `json:"incarnation"`
}

// Fault is one fault of a round. From Begin to Calm nothing is promised that
// needs all parts.
type Fault struct {
	Round  int           `json:"round"`
	Kind   string        `json:"kind"`
	Target string        `json:"target,omitempty"`
	Begin  time.Duration `json:"begin"`
	Healed time.Duration `json:"healed"` // what was broken is whole
	Calm   time.Duration `json:"calm"`   // all services said that they are well, and some time for what was under way
	// Problem says what never got well.
	Problem string `json:"problem,omitempty"`
}

// Pulse is a moment in which the machine itself was slow: what takes a
// millisecond took Late.
type Pulse struct {
	At   time.Duration `json:"at"`
	Late time.Duration `json:"late"`
	What string        `json:"what"`
}

// Sample is what one process holds at a quiet point: no fault is under way, traffic
// goes on.
type Sample struct {
	At   time.Duration `json:"at"`
	Kind string        `json:"kind"` // gateway; watcher-leader
	Name string        `json:"name"` // gateway-0
	Pid  int           `json:"pid"`
	Age  time.Duration `json:"age"` // of the process
	// Figures are what it holds, by what that is.
	Figures map[Figure]int64 `json:"figures"`
}

// Figure is what a process may hold too much of.
type Figure string

// The figures. The last three are the NATS server's alone.
const (
	Goroutines    Figure = "goroutines"
	Memory        Figure = "memory" // resident, bytes
	Files         Figure = "files"  // open file descriptors
	Connections   Figure = "connections"
	Subscriptions Figure = "subscriptions"
	Consumers     Figure = "consumers" // of all streams
)

// End is what a session is once all faults are over, on one gateway.
type End struct {
	At      time.Duration `json:"at"`
	Gateway string        `json:"gateway"`
	Tenant  string        `json:"tenant"`
	Seen
	Problem string `json:"problem,omitempty"`
}

// Left is an object that is still there after everything was stopped.
type Left struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// MetFault reports whether a fault was under way while a request was.
func (h *History) MetFault(o *Op) bool {
	return slices.ContainsFunc(h.Faults, func(f Fault) bool { return f.Begin <= o.Returned && f.Calm >= o.Invoked })
}

// History is a whole run.
type History struct {
	Ops    []Op
	Pods   []Pod
	Events []Event
	Views  []View
	Faults []Fault
	Pulses []Pulse
	Ends   []End
	// Samples are in the order in which they were taken.
	Samples []Sample
	Left    []Left
}
