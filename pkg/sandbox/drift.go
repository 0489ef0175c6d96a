package sandbox

import "time"

// Object is a Service, route or volume as Drift sees it.
type Object struct {
	Kind        string
	Name        string
	UID         string
	RecordUID   string
	RuntimeID   string
	Generation  int64
	Terminating bool
	Volume      bool // lives as long as the sandbox is not stopped, else as its route
}

// PurgeAfter is how long a stopped record is kept: longer than a command's
// deadline and the longest attempt together, so that no attempt that could still
// write for an older command finds the record gone.
const PurgeAfter = MaxDeadline + LongestAttempt + 10*time.Second

// MaxDeadline is the longest that a command may wait to be run, from when it
// was published. A later deadline is cut to it.
const MaxDeadline = 30 * time.Second

// Drift says whether what the cluster holds differs from what the record wants,
// so that a reconcile is to be sent, bound to the record as it was seen. pods
// and objects are those of the record's name. Objects of another record UID are
// the garbage collector's. A wanted pod that is ending is drift too: it may never
// end, and the reconcile puts another in its place.
func Drift(r *Record, pods []Pod, objects []Object, omit Omit) (Command, bool) {
	if r == nil {
		return Command{}, false
	}
	c := Command{
		Verb: Reconcile, Tenant: r.Tenant, SessionID: r.SessionID, RuntimeID: r.RuntimeID,
		Generation: r.Generation, RecordUID: r.UID,
	}
	found, ending := false, ""
	for i := range pods {
		p := &pods[i]
		if p.RecordUID != r.UID {
			continue
		}
		if p.Generation > r.Generation && !omit.Has(OmitJudgeGeneration) {
			return Command{}, false // the cached record is older than this pod: wait for it
		}
		if r.Wants(p.RuntimeID, p.Incarnation) {
			found = true
			if p.Terminating && !omit.Has(OmitReplaceEnding) {
				ending = p.UID
			}
			continue
		}
		if omit.Has(OmitJudgeGeneration) && p.Order > r.Order() {
			continue // what one might compare instead; it leaves orphans
		}
		if !p.Terminating {
			c.PodUID = p.UID
			return c, true
		}
	}
	for i := range objects {
		o := &objects[i]
		if o.RecordUID != r.UID || o.Terminating || o.Generation > r.Generation {
			continue
		}
		if !r.WantsVolume(o.RuntimeID) { // volumes and routes both live until stop
			c.PodUID = o.UID
			return c, true
		}
	}
	c.PodUID = ending
	return c, r.Desired == Running && (!found || ending != "")
}

// PurgeDue returns the command that removes a stopped record, and when to send
// it.
func PurgeDue(r *Record) (Command, time.Time, bool) {
	if r == nil || r.Desired != Stopped {
		return Command{}, time.Time{}, false
	}
	return Command{
		Verb: Purge, Tenant: r.Tenant, SessionID: r.SessionID, RuntimeID: r.RuntimeID,
		Generation: r.Generation, RecordUID: r.UID,
	}, r.ChangedAt.Add(PurgeAfter), true
}
