package settings

import (
	"errors"
	"fmt"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// Clocks are how long sandboxes may stay as they are, in seconds, where neither
// the client nor its API key asks for something else; 0: for ever. The watcher
// keeps them; the provisioner tells sandboxes the first. The names and the first
// three values are the reference server's.
type Clocks struct {
	Idle      int64 `env:"RUNTIME_IDLE_SECONDS" envDefault:"1200"`      // running and not used, then paused
	MaxAge    int64 `env:"RUNTIME_MAX_SECONDS" envDefault:"43200"`      // running, then paused
	Retention int64 `env:"RUNTIME_DEAD_SECONDS" envDefault:"864000"`    // paused, then stopped
	Pending   int64 `env:"RUNTIME_PENDING_SECONDS" envDefault:"3600"`   // not ready, then taken back
	Unclaimed int64 `env:"RUNTIME_UNCLAIMED_SECONDS" envDefault:"1800"` // not asked for, then taken back
}

// Clocks are the same as pkg/sandbox takes them.
func (c Clocks) Clocks() sandbox.Clocks {
	seconds := func(n int64) time.Duration { return time.Duration(n) * time.Second }
	return sandbox.Clocks{
		Idle: seconds(c.Idle), MaxAge: seconds(c.MaxAge), Retention: seconds(c.Retention),
		Pending: seconds(c.Pending), Unclaimed: seconds(c.Unclaimed),
	}
}

// Validate lists all that is wrong, by the names of the variables.
func (c Clocks) Validate() error {
	var errs []error
	for _, x := range []struct {
		name       string
		value, max int64
	}{
		{"RUNTIME_IDLE_SECONDS", c.Idle, sandbox.MaxIdle}, {"RUNTIME_MAX_SECONDS", c.MaxAge, sandbox.MaxLifecycle},
		{"RUNTIME_DEAD_SECONDS", c.Retention, sandbox.MaxLifecycle}, {"RUNTIME_PENDING_SECONDS", c.Pending, sandbox.MaxLifecycle},
		{"RUNTIME_UNCLAIMED_SECONDS", c.Unclaimed, sandbox.MaxLifecycle},
	} {
		if x.value < 0 || x.value > x.max {
			errs = append(errs, fmt.Errorf("%s is %d, must be 0 to %d", x.name, x.value, x.max))
		}
	}
	return errors.Join(errs...)
}
