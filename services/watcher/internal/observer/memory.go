package observer

import (
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// memory is what an observer keeps of a record between two looks. Only the
// worker that has the key touches it.
type memory struct {
	uid        string
	generation int64
	since      time.Time // when this generation was first seen, by our own clock
	ran        int64     // the last incarnation that was seen to have a pod
	verified   string    // UID of the last pod whose route was seen verified
	judged     time.Time // the list of objects that was last looked at
	replaced   int       // pods that were ending and replaced, since one was ready
	drift      *nag      // nil: there is no cause; few sandboxes have one
	purge      *nag
	clock      *nag
}

// memory returns what is kept of the record, brought up to what is seen now.
func (o *Observer) memory(key string, r *sandbox.Record, pod *sandbox.Pod, now time.Time) *memory {
	o.mu.Lock()
	m := o.memories[key]
	if m == nil || m.uid != r.UID {
		m = &memory{uid: r.UID}
		o.memories[key] = m
	}
	o.mu.Unlock()
	if m.generation != r.Generation {
		m.generation, m.since = r.Generation, now
		m.drift, m.purge, m.clock = nil, nil, nil
	}
	if pod != nil {
		m.ran = r.Incarnation
	}
	if r.Desired != sandbox.Running || pod != nil && pod.Ready && !pod.Terminating {
		m.replaced = 0
	}
	return m
}

// young reports whether a record is still its provisioner's to show. It goes by two
// clocks, the provisioner's and our own, so that neither can make a record young
// for long.
func (o *Observer) young(r *sandbox.Record, m *memory, now time.Time) bool {
	return now.Sub(m.since) < o.cfg.FirstShown && now.Sub(r.CreatedAt) < o.cfg.FirstShown
}

// replaceAfter is how long a pod must have been ending until another takes its
// place: longer each time, for who takes all of them away will take the next one
// too.
func (m *memory) replaceAfter() time.Duration {
	if m.replaced == 0 {
		return patience
	}
	return repetition(m.replaced)
}

// lost reports whether a sandbox that is to run has lost its pod, or is about
// to. That is also how the first half of a pause looks whose other half, the
// record, has not come yet: readers should not see a sandbox fall over that is
// only being paused, so the record is read at the API server first.
func (m *memory) lost(r *sandbox.Record, pod *sandbox.Pod) bool {
	if r.Desired != sandbox.Running {
		return false
	}
	return pod == nil && m.ran == r.Incarnation || pod != nil && pod.Terminating
}

// nag says when a command is sent that is repeated until its cause is gone.
type nag struct {
	cause string
	since time.Time // when the cause was first seen
	last  time.Time // when it was last sent
	sent  int
}

// begun returns what is kept at, which begins now if it has not.
func begun(at **nag) *nag {
	if *at == nil {
		*at = &nag{}
	}
	return *at
}

// Times of repetition. The first is that of the command's message id: an
// earlier repetition would be dropped as a duplicate.
const (
	repeatFirst = 5 * time.Second
	repeatMax   = time.Minute
)

// due is when to send next for a cause that has to have lasted patience, and not
// before a time.
func (n *nag) due(cause string, patience time.Duration, notBefore, now time.Time) time.Time {
	if n.cause != cause {
		*n = nag{cause: cause, since: now}
	}
	if n.sent == 0 {
		at := n.since.Add(patience)
		if at.Before(notBefore) {
			return notBefore
		}
		return at
	}
	return n.last.Add(repetition(n.sent))
}

// repetition is the wait after so many times, of which there was one at least.
func repetition(times int) time.Duration {
	const doublings = 4
	return min(repeatMax, repeatFirst<<min(times-1, doublings))
}

func (n *nag) done(now time.Time) { n.last, n.sent = now, n.sent+1 }
