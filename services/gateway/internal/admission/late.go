package admission

import "time"

const (
	// patience is how long the first of a tenant's queue waits for the pace.
	patience = 500 * time.Millisecond
	// burst is for how long a tenant's commands go after that, though the pace says no.
	burst = 10 * time.Second
	// calm ends a burst, or a flood: no command waited for longer than patience, or only
	// one that was the only one of a flood.
	calm = 10 * time.Second

	// few wait for the pace for no longer than held, whatever came before: a flood is many,
	// and few that are late are so because each of them takes long. It is half of what
	// commands wait for their turn.
	few  = atFirst
	held = 2 * time.Second
)

// late is when a tenant's commands waited for longer than patience, for whatever. One that
// asks for too much for a moment is let through, which costs the others that moment; one
// that goes on floods, and waits.
type late struct{ first, last time.Time }

// note notes that one waited so long.
func (l *late) note() {
	now := time.Now()
	if now.Sub(l.last) >= calm {
		l.first = now
	}
	l.last = now
}

// bursts reports whether the tenant's commands go in spite of the pace.
func (l late) bursts() bool { return l.lasts() > 0 && time.Since(l.first) < burst }

// floods reports whether they have for too long.
func (l late) floods() bool { return l.lasts() > 0 && time.Since(l.first) >= burst }

// young reports whether a flood is so new that what it is measured by may be wrong: other
// gateways may have taken theirs for a burst then.
func (l late) young() bool { return l.floods() && time.Since(l.first) < burst+step }

// lasts is for how long it is still to be known.
func (l late) lasts() time.Duration { return calm - time.Since(l.last) }
