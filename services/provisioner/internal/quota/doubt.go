package quota

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

const (
	// doubtAfter is how long a place is believed in: longer than the longest
	// attempt (20 s) and the difference of clocks together, so that what took an
	// older one has written its record or never will.
	doubtAfter = time.Minute
	// maxDoubts bounds the records that one attempt looks at.
	maxDoubts = 32
)

// doubtful lists records that may not run any more, the longest unseen first: of
// a provisioner that died between taking a place and writing the record, or
// between writing it and giving the place back.
func (l *Ledger) doubtful(except string, now time.Time) []string {
	type doubt struct {
		record string
		seen   int64
	}
	var all []doubt
	limit := now.Add(-doubtAfter).UnixMilli()
	for record, places := range l.Places {
		var seen int64
		for _, p := range places {
			seen = max(seen, p.Taken, p.Seen)
		}
		if record != except && seen <= limit {
			all = append(all, doubt{record, seen})
		}
	}
	slices.SortFunc(all, func(a, b doubt) int {
		return cmp.Or(cmp.Compare(a.seen, b.seen), cmp.Compare(a.record, b.record))
	})
	out := make([]string, 0, maxDoubts)
	for _, d := range all[:min(len(all), maxDoubts)] {
		out = append(out, d.record)
	}
	return out
}

// settle notes under which place a record was found running, "" for none. Others
// of it go if they are old enough: no attempt means them any more.
func (l *Ledger) settle(record, running string, now time.Time) {
	places, before := l.Places[record], len(l.Places[record])
	limit := now.Add(-doubtAfter).UnixMilli()
	maps.DeleteFunc(places, func(name string, p Place) bool { return name != running && p.Taken <= limit })
	if p, ok := places[running]; ok {
		p.Seen = now.UnixMilli()
		places[running] = p
	}
	l.shrunk(record, before)
}
