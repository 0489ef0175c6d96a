package sandbox

import "time"

// Gap is a time that does not count against anybody: no watcher watched, or the
// system's clock jumped over it.
type Gap struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Timeline is the gaps, none of which overlap.
type Timeline []Gap

// Elapsed is the time between two instants, less the gaps within.
func (l Timeline) Elapsed(from, to time.Time) time.Duration {
	d := to.Sub(from)
	for _, g := range l {
		begin, end := g.From, g.To
		if begin.Before(from) {
			begin = from
		}
		if end.After(to) {
			end = to
		}
		if over := end.Sub(begin); over > 0 {
			d -= over
		}
	}
	return d
}
