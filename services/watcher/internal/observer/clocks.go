package observer

import (
	"context"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// Witness tells the time, and what of the past counts against nobody. ok is false
// while that is not known.
type Witness interface {
	Now() (now time.Time, line sandbox.Timeline, ok bool)
}

// Usage knows when sandboxes were used.
type Usage interface {
	Signs(key string, r *sandbox.Record) sandbox.Signs
}

// Agents ask the agent servers in sandboxes.
type Agents interface {
	Ask(key string, p *sandbox.Pod)
	Answer(podUID string) (at time.Time, idle time.Duration)
}

// Clocks are what the clocks over sandboxes go by.
type Clocks struct {
	Witness Witness
	Usage   Usage
	Agents  Agents
}

// unknownAgain is how soon the clocks are looked at again that did not know what
// time it is.
const unknownAgain = 5 * time.Second

// clocks sends what the clocks ask for and says when to look again.
func (o *Observer) clocks(ctx context.Context, key string, r *sandbox.Record, pod *sandbox.Pod, v *sandbox.View, m *memory) (time.Time, error) {
	if r.Desired == sandbox.Stopped {
		return time.Time{}, nil
	}
	now, line, known := o.clock.Witness.Now()
	if !known {
		return now.Add(unknownAgain), nil
	}
	signs := o.clock.Usage.Signs(key, r)
	if pod != nil {
		signs.AskedAt, signs.Idle = o.clock.Agents.Answer(pod.UID)
	}
	due := sandbox.DueBy(r, pod, v, signs, o.cfg.Clocks, line, now)
	if due.Ask {
		o.clock.Agents.Ask(key, pod)
	}
	if due.Command == nil {
		m.clock = nil
		return due.Again, nil
	}
	nag := begun(&m.clock)
	if at := nag.due(string(due.Command.Verb), 0, time.Time{}, now); now.Before(at) {
		return at, nil
	}
	if err := o.commands.Send(ctx, *due.Command, now); err != nil {
		return time.Time{}, err
	}
	nag.done(now)
	return nag.due(string(due.Command.Verb), 0, time.Time{}, now), nil
}
