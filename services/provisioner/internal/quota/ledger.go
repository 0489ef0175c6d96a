// Package quota keeps what the sandboxes of one API key hold: a ledger for each
// key that has limits. The ledger's decisions are pure; the keeper swaps it in
// Kubernetes and asks for records.
package quota

import (
	"maps"
	"slices"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// Ledger is what one key of a tenant holds. A record has one or more places in
// it, one for each attempt that meant to make it run, and is counted once. A
// place goes only by its name: whoever gives one back cannot take another's.
type Ledger struct {
	Tenant string
	Key    string
	// UID and Version are the Secret's, for compare-and-swap; "" before it exists.
	UID     string
	Version string

	Places map[string]map[string]Place // by record and name of the place
	Starts []Start                     // of the last minute, oldest first
}

// Place is what one attempt took for its record.
type Place struct {
	Command uint64 `json:"command"` // its sequence
	CPU     int64  `json:"cpu_millis"`
	Memory  int64  `json:"memory_bytes"`
	Taken   int64  `json:"taken"`           // unix time in milliseconds
	Seen    int64  `json:"seen,omitempty"`  // when the record was last seen running under it
	Noted   bool   `json:"noted,omitempty"` // without asking for room, see note
}

// Start is one that made a pod, for the rate.
type Start struct {
	Command uint64 `json:"command"`
	At      int64  `json:"at"` // unix time in milliseconds
}

// Ticket is what a command asks for.
type Ticket struct {
	Record  string
	Place   string // "": the key's limits bound nothing but the rate
	Command uint64
	CPU     int64
	Memory  int64
}

// window is what a rate counts over.
const window = time.Minute

// take makes room for a ticket, or says why there is none; then l is as it was.
// Taking again what the same record holds, or counting the same command, takes
// nothing more: a redelivery finds its own.
func (l *Ledger) take(t Ticket, limits sandbox.Limits, now time.Time) error {
	if t.Place != "" {
		if err := l.room(t, limits); err != nil {
			return err
		}
	}
	if err := l.rate(t, limits.StartsPerMinute, now); err != nil {
		return err
	}
	if t.Place != "" {
		l.put(t, now, false)
	}
	return nil
}

// note counts what runs without asking for room. No later place of its record
// can rest on it: by the time that it is noted, the record may have been paused,
// and another have got its room.
func (l *Ledger) note(t Ticket, now time.Time) { l.put(t, now, true) }

func (l *Ledger) put(t Ticket, now time.Time, noted bool) {
	if l.Places[t.Record] == nil {
		l.Places[t.Record] = map[string]Place{}
	}
	l.Places[t.Record][t.Place] = Place{Command: t.Command, CPU: t.CPU, Memory: t.Memory, Taken: now.UnixMilli(), Noted: noted}
}

// has reports whether a record has this place.
func (l *Ledger) has(record, place string) bool {
	_, ok := l.Places[record][place]
	return ok
}

// drop gives a place back, and with it what commands up to fence have left: the
// record, whose fence that is, will never run by them. It reports whether
// anything went.
func (l *Ledger) drop(record, place string, fence uint64) bool {
	before := len(l.Places[record])
	maps.DeleteFunc(l.Places[record], func(name string, p Place) bool { return name == place || p.Command <= fence })
	return l.shrunk(record, before)
}

// undo takes back what a command took and did not use.
func (l *Ledger) undo(t Ticket) bool {
	starts := len(l.Starts)
	l.Starts = slices.DeleteFunc(l.Starts, func(s Start) bool { return s.Command == t.Command })
	return l.drop(t.Record, t.Place, 0) || len(l.Starts) != starts
}

// shrunk forgets a record that has no place left.
func (l *Ledger) shrunk(record string, before int) bool {
	after := len(l.Places[record])
	if after == 0 {
		delete(l.Places, record)
	}
	return after != before
}

// used is what all other records hold. One that means to run anew with another
// spec holds the larger of both until the older is given back.
func (l *Ledger) used(except string) (cpu, memory int64) {
	for record := range l.Places {
		if record != except {
			var c, m int64
			for _, p := range l.Places[record] {
				c, m = max(c, p.CPU), max(m, p.Memory)
			}
			cpu, memory = cpu+c, memory+m
		}
	}
	return cpu, memory
}

// own is what a record was given when it asked.
func (l *Ledger) own(record string) (cpu, memory int64, any bool) {
	for _, p := range l.Places[record] {
		if !p.Noted {
			cpu, memory, any = max(cpu, p.CPU), max(memory, p.Memory), true
		}
	}
	return cpu, memory, any
}
