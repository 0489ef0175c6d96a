package podwatch

import (
	"time"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// Seen is what is known of one record. What it points to is shared: do not
// change it.
type Seen struct {
	Record  *sandbox.Record // nil: there is none, or it cannot be read
	Unknown bool            // there is one that cannot be read
	Pods    []sandbox.Pod   // all with the record's name on them
	Order   uint64          // up to which Pods is complete

	Objects   []sandbox.Object // of the last ListObjects
	ObjectsAt time.Time        // when that began; zero: never
}

// Look returns what is known of a record now.
func (w *Watch) Look(name string) Seen {
	var s Seen
	s.Pods, s.Order = w.pods.store.of(name)
	rs, _ := w.records.store.of(name)
	if len(rs) > 0 {
		s.Record, s.Unknown = rs[0].record, rs[0].record == nil
	}
	if o := w.objects.Load(); o != nil {
		s.Objects, s.ObjectsAt = o.byRecord[name], o.at
	}
	return s
}

// Keys lists the view keys of all records that can be read.
func (w *Watch) Keys() []string {
	var out []string
	for _, r := range w.records.store.all() {
		if r.record != nil {
			out = append(out, contract.ViewKey(r.record.Tenant, r.name))
		}
	}
	return out
}
