package sandbox

import "time"

// Lifecycle says how long a sandbox may stay as it is, in whole seconds. nil:
// nobody asked, the server's own holds; 0: for ever. The gateway fills in what
// the API key says before it publishes a start; what stands in the record stays
// for the sandbox's life.
type Lifecycle struct {
	// Idle: running without any activity, then paused.
	Idle *int64 `json:"idle_seconds,omitempty"`
	// MaxAge: running since its last start or resume, active or not, then paused.
	MaxAge *int64 `json:"max_age_seconds,omitempty"`
	// Retention: paused, then stopped, its volume with it.
	Retention *int64 `json:"retention_seconds,omitempty"`
	// Pending: started or resumed and never ready, then stopped or paused.
	Pending *int64 `json:"pending_seconds,omitempty"`
	// Unclaimed: started or resumed and never asked for by its client, then
	// stopped or paused.
	Unclaimed *int64 `json:"unclaimed_seconds,omitempty"`

	Unknown Unknown `json:"-"`
}

// LifecycleClocks are the clocks by their names on the wire, in the order in
// which they are described.
var LifecycleClocks = []struct {
	Name string
	Max  int64
	Of   func(*Lifecycle) **int64
}{
	{"idle_seconds", MaxIdle, func(l *Lifecycle) **int64 { return &l.Idle }},
	{"max_age_seconds", MaxLifecycle, func(l *Lifecycle) **int64 { return &l.MaxAge }},
	{"retention_seconds", MaxLifecycle, func(l *Lifecycle) **int64 { return &l.Retention }},
	{"pending_seconds", MaxLifecycle, func(l *Lifecycle) **int64 { return &l.Pending }},
	{"unclaimed_seconds", MaxLifecycle, func(l *Lifecycle) **int64 { return &l.Unclaimed }},
}

// The longest times that can be asked for, in seconds; who wants longer wants 0.
// MaxIdle is below the time for which activity is kept.
const (
	MaxLifecycle = 10 * 365 * 24 * 60 * 60
	MaxIdle      = 30 * 24 * 60 * 60
)

// Validate names the clock that is out of bounds, or returns nil.
func (l *Lifecycle) Validate() error {
	if l == nil {
		return nil
	}
	for _, c := range LifecycleClocks {
		if n := *c.Of(l); n != nil && (*n < 0 || *n > c.Max) {
			return Errorf(CodeInvalid, "lifecycle: %s must be between 0 and %d", c.Name, c.Max)
		}
	}
	return nil
}

// Or is l, and other where l says nothing. Either may be nil.
func (l *Lifecycle) Or(other *Lifecycle) *Lifecycle {
	if l == nil {
		return other.Clone()
	}
	out := l.Clone()
	if other == nil {
		return out
	}
	for _, c := range LifecycleClocks {
		if mine, theirs := c.Of(out), *c.Of(other); *mine == nil && theirs != nil {
			n := *theirs
			*mine = &n
		}
	}
	return out
}

// Clone returns a copy that shares nothing.
func (l *Lifecycle) Clone() *Lifecycle {
	if l == nil {
		return nil
	}
	out := *l
	for _, c := range LifecycleClocks {
		if n := c.Of(&out); *n != nil {
			m := **n
			*n = &m
		}
	}
	out.Unknown = l.Unknown.Clone()
	return &out
}

// Seconds is a clock's time, or the server's where it says nothing; 0: never.
func Seconds(n *int64, server time.Duration) time.Duration {
	if n == nil {
		return server
	}
	return time.Duration(min(*n, MaxLifecycle)) * time.Second
}
