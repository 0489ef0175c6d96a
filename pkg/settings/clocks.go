package settings

import (
	"errors"
	"fmt"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// Idle is the clock that two services keep to: the watcher pauses by it, and the
// provisioner tells it to sandboxes.
type Idle struct {
	Seconds int64 `env:"RUNTIME_IDLE_SECONDS" envDefault:"1200"` // running and not used, then paused
}

// Duration is the same; 0: never.
func (i Idle) Duration() time.Duration { return time.Duration(i.Seconds) * time.Second }

// Validate says what is wrong, or nil.
func (i Idle) Validate() error { return within("RUNTIME_IDLE_SECONDS", i.Seconds, sandbox.MaxIdle) }

// Clocks are how long sandboxes may stay as they are, in seconds, where neither
// the client nor its API key asks for something else; 0: for ever. The watcher
// keeps them. The names and the first three values are the reference server's.
type Clocks struct {
	Idle      Idle
	MaxAge    int64 `env:"RUNTIME_MAX_SECONDS" envDefault:"43200"`      // running, then paused
	Retention int64 `env:"RUNTIME_DEAD_SECONDS" envDefault:"864000"`    // paused, then stopped
	Pending   int64 `env:"RUNTIME_PENDING_SECONDS" envDefault:"3600"`   // not ready, then taken back
	Unclaimed int64 `env:"RUNTIME_UNCLAIMED_SECONDS" envDefault:"1800"` // not asked for, then taken back
}

// Clocks are the same as pkg/sandbox takes them.
func (c Clocks) Clocks() sandbox.Clocks {
	seconds := func(n int64) time.Duration { return time.Duration(n) * time.Second }
	return sandbox.Clocks{
		Idle: c.Idle.Duration(), MaxAge: seconds(c.MaxAge), Retention: seconds(c.Retention),
		Pending: seconds(c.Pending), Unclaimed: seconds(c.Unclaimed),
	}
}

// Validate lists all that is wrong, by the names of the variables.
func (c Clocks) Validate() error {
	return errors.Join(
		c.Idle.Validate(),
		within("RUNTIME_MAX_SECONDS", c.MaxAge, sandbox.MaxLifecycle),
		within("RUNTIME_DEAD_SECONDS", c.Retention, sandbox.MaxLifecycle),
		within("RUNTIME_PENDING_SECONDS", c.Pending, sandbox.MaxLifecycle),
		within("RUNTIME_UNCLAIMED_SECONDS", c.Unclaimed, sandbox.MaxLifecycle),
	)
}

func within(name string, value, most int64) error {
	if value < 0 || value > most {
		return fmt.Errorf("%s is %d, must be 0 to %d", name, value, most)
	}
	return nil
}
