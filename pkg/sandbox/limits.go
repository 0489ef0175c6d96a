package sandbox

// Limits bound what one API key may hold at once. 0: no bound. The gateway puts
// those of the request's key into a start and a resume; the provisioner keeps
// them.
type Limits struct {
	Key             string `json:"key"`                         // the key's name, unique in its tenant
	Sandboxes       int    `json:"sandboxes,omitempty"`         // that run or start
	CPU             int64  `json:"cpu_millis,omitempty"`        // sum of their requests
	Memory          int64  `json:"memory_bytes,omitempty"`      // sum of their requests
	StartsPerMinute int    `json:"starts_per_minute,omitempty"` // starts and resumes that make a pod
}

// Bounds of limits, so that a ledger fits a Secret: one place takes about 200
// bytes, one start about 50.
const (
	MaxHeld   = 2000
	MaxStarts = 2000
	MaxAmount = 1 << 50 // of cpu or memory: a sum of MaxHeld of them fits 64 bits
)

// Holder is the key that a sandbox is charged to: "" where its limits bound
// nothing that it holds. nil has none.
func (l *Limits) Holder() string {
	if l == nil || l.Sandboxes == 0 && l.CPU == 0 && l.Memory == 0 {
		return ""
	}
	return l.Key
}

// Validate says what is wrong with limits, or returns nil. nil is valid.
func (l *Limits) Validate() error {
	switch {
	case l == nil:
		return nil
	case l.Key == "" || len(l.Key) > 64:
		return Errorf(CodeInvalid, "limits: the key's name must have 1 to 64 bytes")
	case l.Sandboxes < 0 || l.CPU < 0 || l.Memory < 0 || l.StartsPerMinute < 0:
		return Errorf(CodeInvalid, "limits: none may be negative")
	case l.Sandboxes > MaxHeld:
		return Errorf(CodeInvalid, "limits: sandboxes must be at most %d", MaxHeld)
	case l.StartsPerMinute > MaxStarts:
		return Errorf(CodeInvalid, "limits: starts_per_minute must be at most %d", MaxStarts)
	case l.CPU > MaxAmount || l.Memory > MaxAmount:
		return Errorf(CodeInvalid, "limits: cpu or memory is more than can be counted")
	}
	return nil
}
