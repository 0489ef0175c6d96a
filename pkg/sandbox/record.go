package sandbox

import (
	"maps"
	"slices"
	"strconv"
	"time"
)

// Desired is what was last accepted for a sandbox.
type Desired string

// The desired states.
const (
	Running Desired = "running"
	Paused  Desired = "paused"
	Stopped Desired = "stopped"
)

// Spec is all that a client asked for in POST /start, kept whole so that resume
// recreates exactly it.
type Spec struct {
	Image           string            `json:"image"`
	Command         []string          `json:"command,omitempty"` // none: the image's own
	WorkingDir      string            `json:"working_dir,omitempty"`
	Environment     map[string]string `json:"environment,omitempty"`
	ResourceFactor  int               `json:"resource_factor"`
	RuntimeClass    string            `json:"runtime_class,omitempty"` // as the client named it
	RunAsUser       *int64            `json:"run_as_user,omitempty"`
	RunAsGroup      *int64            `json:"run_as_group,omitempty"`
	FSGroup         *int64            `json:"fs_group,omitempty"`
	ImagePullPolicy string            `json:"image_pull_policy,omitempty"`
	Lifecycle       *Lifecycle        `json:"lifecycle,omitempty"`

	Unknown Unknown `json:"-"`
}

// Clone returns a copy that shares nothing.
func (s Spec) Clone() Spec {
	s.Command = slices.Clone(s.Command)
	s.Environment = maps.Clone(s.Environment)
	s.Lifecycle, s.Unknown = s.Lifecycle.Clone(), s.Unknown.Clone()
	for _, id := range []**int64{&s.RunAsUser, &s.RunAsGroup, &s.FSGroup} {
		if *id != nil {
			n := **id
			*id = &n
		}
	}
	return s
}

// Route says under which names a sandbox is reached. It is fixed when the
// runtime id is made and stays for the sandbox's whole life, over any change of
// the server's configuration.
type Route struct {
	Label     string         `json:"label"`                // host label, or the path's first segment in path mode
	URL       string         `json:"url"`                  // the agent server, without a trailing slash
	VSCodeURL string         `json:"vscode_url,omitempty"` // the editor
	WorkHosts map[string]int `json:"work_hosts"`           // worker URL → port

	Unknown Unknown `json:"-"`
}

// Clone returns a copy that shares nothing.
func (r Route) Clone() Route {
	r.WorkHosts, r.Unknown = maps.Clone(r.WorkHosts), r.Unknown.Clone()
	return r
}

// Record is what we know and want of one session. Its codec to a Secret is
// pkg/kube's.
type Record struct {
	Name            string // RecordName(Tenant, SessionID)
	UID             string // the Secret's; "" before it exists
	ResourceVersion string // the Secret's, for compare-and-swap

	// AsOf is when the API server was asked for it, or to write it: so long ago it was
	// so. It is not stored; zero where nobody noted it.
	AsOf time.Time

	Tenant    string
	SessionID string
	RuntimeID string
	Desired   Desired

	// Original is the runtime id of its first sandbox; "" in a record of an earlier
	// version. See OneSandbox.
	Original string

	Generation  int64  // only up; a new record's begins at unix time in milliseconds
	Incarnation int64  // counts pods
	Fence       uint64 // stream sequence of the last accepted command
	LastCommand string // its id

	// Reason is why the watcher changed it last, for people: "idle for 20m0s".
	// "" where a client did.
	Reason string

	// Holder is the API key whose limits it counts against, "" for none; Place is
	// its place in that key's ledger since it was last made to run. They stay over
	// a pause: who reads a record that does not run may give its place back.
	Holder string
	Place  string

	Spec  Spec
	Route Route

	SessionKey string // the current one, data key session_key.<KeyNumber>
	KeyNumber  int    // 1, 2, 3 …; an earlier key stays until the next change of the number
	SecretKey  string // OH_SECRET_KEY, the same for the sandbox's whole life

	CreatedAt time.Time // of the runtime id
	ChangedAt time.Time // of the generation

	// Begun is the generation of its last start or resume, and BegunAt its time: a
	// pod that was replaced because it was ending is no new beginning. Zero in a
	// record of an earlier version: Beginning.
	Begun   int64
	BegunAt time.Time

	Unknown Unknown
}

// Clone returns a copy that shares nothing.
func (r *Record) Clone() *Record {
	if r == nil {
		return nil
	}
	c := *r
	c.Spec = r.Spec.Clone()
	c.Route = r.Route.Clone()
	c.Unknown = r.Unknown.Clone()
	return &c
}

// Order is the record's resourceVersion as a number, 0 if it is none.
func (r *Record) Order() uint64 {
	n, err := strconv.ParseUint(r.ResourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Beginning is the generation and the time of its last start or resume; where
// the record does not say, those of its last change.
func (r *Record) Beginning() (generation int64, at time.Time) {
	if r.Begun == 0 {
		return r.Generation, r.ChangedAt
	}
	return r.Begun, r.BegunAt
}

// OneSandbox reports whether the record has never had another sandbox than the one of
// RuntimeID, so that all that it has, or has had, can be named: pods by its
// incarnations, the rest by the runtime id. A version that does not know Original
// keeps it, and moves RuntimeID away from it.
func (r *Record) OneSandbox() bool { return r.Original != "" && r.Original == r.RuntimeID }

// Wants reports whether the record wants the pod of this runtime id and
// incarnation.
func (r *Record) Wants(runtimeID string, incarnation int64) bool {
	return r != nil && r.Desired == Running && r.RuntimeID == runtimeID && r.Incarnation == incarnation
}

// WantsVolume reports whether the record wants the volume of this runtime id.
func (r *Record) WantsVolume(runtimeID string) bool {
	return r != nil && r.Desired != Stopped && r.RuntimeID == runtimeID
}
