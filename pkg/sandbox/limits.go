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

// Validate says what is wrong with limits, or returns nil. nil is valid.
func (l *Limits) Validate() error {
	switch {
	case l == nil:
		return nil
	case l.Key == "" || len(l.Key) > 64:
		return Errorf(CodeInvalid, "limits: the key's name must have 1 to 64 bytes")
	case l.Sandboxes < 0 || l.CPU < 0 || l.Memory < 0 || l.StartsPerMinute < 0:
		return Errorf(CodeInvalid, "limits: none may be negative")
	}
	return nil
}
