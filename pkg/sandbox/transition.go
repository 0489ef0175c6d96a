package sandbox

import "time"

// Transitions kept in a view: at least the last keptTransitions, published or
// not, and at most maxTransitions.
const (
	keptTransitions = 8
	maxTransitions  = 64
)

// Restored says that a view is made for a bucket that was emptied under a
// sandbox that lived before.
type Restored struct {
	Yes bool
	// Number is the number of the restored event: above any that the sandbox
	// can have had, so that numbers never go back. Unix time in seconds.
	Number int64
}

// Advance puts into next what prev carried and the steps between the two, and
// before them the end of prev's sandbox where next is of another. It is called
// once for each write of a view, in the same compare-and-swap.
func Advance(prev *View, next *View, restored Restored, now time.Time) {
	next.Transitions = nil
	number := int64(0)
	if prev != nil {
		next.Transitions = append(next.Transitions, prev.Transitions...)
		if prev.RuntimeID != next.RuntimeID && levelOf(prev) != levelStopped { // nobody showed its end
			next.Transitions = append(next.Transitions, Transition{
				RuntimeID: prev.RuntimeID, Number: lastNumber(prev.Transitions, prev.RuntimeID) + 1, Type: EventStopped, Time: now.UTC(),
			})
		}
		number = lastNumber(prev.Transitions, next.RuntimeID)
	}
	if prev == nil && restored.Yes {
		number = restored.Number - 1
	}
	for _, typ := range Steps(prev, next, restored.Yes) {
		number++
		t := Transition{RuntimeID: next.RuntimeID, Number: number, Type: typ, Time: now.UTC()}
		if explains(next, typ) {
			t.Reason = next.StatusDetail
		}
		next.Transitions = append(next.Transitions, t)
	}
	if over := len(next.Transitions) - maxTransitions; over > 0 {
		next.Transitions = next.Transitions[over:]
	}
}

// explains reports whether the view's detail is the reason of a step. A pause
// that was over between two looks is not what the view tells of.
func explains(next *View, typ EventType) bool {
	switch typ {
	case EventFailed, EventUnready:
		return true
	case EventPaused:
		return next.Status == StatusPaused
	case EventStopped:
		return next.Status == StatusStopped
	case EventRequested, EventStarting, EventReady, EventResumed, EventRestored:
	}
	return false
}

func lastNumber(ts []Transition, runtimeID string) int64 {
	number := int64(0)
	for _, t := range ts {
		if t.RuntimeID == runtimeID {
			number = t.Number
		}
	}
	return number
}

// Trim drops published transitions from the front of a view, down to the ones
// that are kept anyway. published reports whether an event is out.
func Trim(v *View, published func(Transition) bool) {
	for len(v.Transitions) > keptTransitions && published(v.Transitions[0]) {
		v.Transitions = v.Transitions[1:]
	}
}

// level is what an observer of events can tell apart.
type level int

const (
	levelNone level = iota
	levelAccepted
	levelStarting
	levelReady
	levelPaused
	levelStopped
	levelFailed
)

func levelOf(v *View) level {
	switch v.Status {
	case StatusPaused:
		return levelPaused
	case StatusStopped:
		return levelStopped
	case StatusError:
		return levelFailed
	case StatusRunning:
		return levelReady
	case StatusStarting:
		if v.PodStatus == PodNotFound {
			return levelAccepted
		}
	}
	return levelStarting
}

// Steps lists the events that lead from prev (nil: none) to next. A watcher may
// have missed what was in between: a step that must have happened is listed
// too.
func Steps(prev, next *View, restored bool) []EventType {
	to := levelOf(next)
	if prev == nil || prev.RuntimeID != next.RuntimeID {
		if restored && prev == nil {
			return []EventType{EventRestored}
		}
		return append([]EventType{EventRequested}, climb(levelAccepted, to)...)
	}
	from := levelOf(prev)
	if prev.Incarnation != next.Incarnation { // each one was accepted to run
		var out []EventType
		switch from {
		case levelAccepted: // its pod was ending, another takes its place
		case levelPaused, levelFailed:
			out = append(out, EventResumed)
		case levelNone, levelStarting, levelReady, levelStopped: // paused and resumed between two looks
			out = append(out, EventPaused, EventResumed)
		}
		return append(out, climb(levelAccepted, to)...)
	}
	return climb(from, to)
}

// climb lists the events between two levels of one incarnation.
func climb(from, to level) []EventType {
	if from == to {
		return nil
	}
	switch to {
	case levelPaused:
		return []EventType{EventPaused}
	case levelStopped:
		return []EventType{EventStopped}
	case levelFailed:
		if from == levelAccepted {
			return []EventType{EventStarting, EventFailed}
		}
		return []EventType{EventFailed}
	case levelReady:
		if from == levelAccepted || from == levelFailed {
			return []EventType{EventStarting, EventReady}
		}
		return []EventType{EventReady}
	case levelStarting:
		if from == levelReady {
			return []EventType{EventUnready}
		}
		return []EventType{EventStarting}
	case levelAccepted:
		if from == levelReady {
			return []EventType{EventUnready}
		}
	case levelNone:
	}
	return nil
}
