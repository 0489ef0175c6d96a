package check_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/robustness/internal/check"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/history"
)

// bug is what a simulated installation does wrong, now and then.
type bug int

const (
	none      bug = iota
	slowViews     // another gateway is a second behind
	lostStart     // a start is acknowledged and never done
	lostPause     // a pause is acknowledged and never done
	vague404      // a gateway that is behind says 404 without a look at the truth
	forgets       // the gateway that answered is behind all the same
	backwards     // a gateway shows an old state between two new ones
	twice         // a start of what runs makes another sandbox
)

// simulation is one session in a world of three gateways, where all is known.
type simulation struct {
	random *rand.Rand
	bug    bug
	steps  []step // what the session truly was
	ids    int
	// known are the steps that a gateway was made to look at, returned says when.
	known [3][]step
	ops   []history.Op
}

type step struct {
	at       time.Duration // it took effect
	returned time.Duration // and was acknowledged, if it was
	gateway  int
	id       string
	status   string // "": not there
}

func (s *simulation) between(low, high int) time.Duration { return ms(low + s.random.IntN(high-low)) }

// change asks for one change at a time; the next comes after its answer.
func (s *simulation) change(now time.Duration) (returned time.Duration) {
	last := s.steps[len(s.steps)-1]
	verb := []history.Verb{history.Start, history.Start, history.Pause, history.Resume, history.Stop}[s.random.IntN(5)]
	if last.status == "" || last.status == "stopped" {
		verb = history.Start
	}
	effect := now + s.between(5, 50)
	next := step{at: effect, returned: effect + s.between(1, 50), gateway: s.random.IntN(3), id: last.id, status: "running"}
	switch verb {
	case history.Pause:
		next.status = "paused"
	case history.Stop:
		next.status = "stopped"
	case history.Start:
		if last.status == "" || last.status == "stopped" || s.bug == twice && s.random.IntN(5) == 0 {
			s.ids++
			next.id = fmt.Sprintf("id-%d", s.ids)
		}
	default: // resume
	}
	o := did(verb, next.id, gatewayName(next.gateway), 0, 0)
	o.Invoked, o.Returned = now, next.returned
	fresh := next.id != last.id
	lost := s.random.IntN(3) == 0 && (s.bug == lostStart && fresh || s.bug == lostPause && verb == history.Pause)
	if s.random.IntN(8) == 0 { // nobody hears of it
		o.Outcome, o.Seen, o.HTTP = history.Unknown, nil, 504
		lost = s.random.IntN(2) == 0
	}
	if len(o.Seen) == 1 {
		o.Seen[0].Status = "starting"
	}
	s.ops = append(s.ops, o)
	if !lost {
		s.steps = append(s.steps, next)
	}
	return o.Returned
}

// read is what a gateway shows: existence as it is, all else as late as its watch.
func (s *simulation) read(now time.Duration) {
	g, verb := s.random.IntN(3), []history.Verb{history.Session, history.Batch, history.List}[s.random.IntN(3)]
	at := now + s.between(1, 10)
	truth, shown := s.steps[0], s.steps[0]
	behind := ms(60 * g)
	if s.bug == slowViews && g == 2 || s.bug == backwards && s.random.IntN(30) == 0 || s.bug == vague404 {
		behind = time.Second
	}
	for _, st := range s.steps {
		if st.at <= at {
			truth = st
		}
		answered := st.gateway == g && st.returned <= at && s.bug != forgets && s.bug != backwards
		if st.at+behind <= at || answered {
			shown = st
		}
	}
	for _, k := range s.known[g] {
		if s.bug != backwards && k.returned <= at && k.at > shown.at {
			shown = k
		}
	}
	if s.bug != vague404 && (shown.status == "" || shown.status == "stopped" || verb == history.List) {
		shown = truth
		truth.returned = at
		s.known[g] = append(s.known[g], truth)
	}
	status := shown.status
	if status == "stopped" || verb == history.List && status == "paused" {
		status = ""
	}
	o := saw(verb, shown.id, status, gatewayName(g), 0, 0)
	o.Invoked, o.Returned = now, at+s.between(1, 10)
	s.ops = append(s.ops, o)
}

func gatewayName(i int) string { return fmt.Sprintf("gateway-%d/0", i) }

// simulated is a minute of one session.
func simulated(seed uint64, b bug) *history.History {
	s := &simulation{random: rand.New(rand.NewPCG(seed, 0)), bug: b, steps: []step{{}}}
	for now := ms(0); now < time.Minute; now = s.change(now) + s.between(1, 900) {
	}
	for now := ms(0); now < time.Minute; now += s.between(1, 40) {
		s.read(now)
	}
	return &history.History{Ops: s.ops}
}

// TestASoundWorldIsNeverAccused, and one with a bug is.
func TestASoundWorldIsNeverAccused(t *testing.T) {
	t.Parallel()
	const seeds = 8
	caught := map[bug]int{}
	for seed := range uint64(seeds) {
		if r := check.History(simulated(seed, none)); len(r.Violations) > 0 || r.Fresh == 0 {
			t.Fatalf("seed %d, %d fresh reads: %+v", seed, r.Fresh, r.Violations)
		}
		for b := slowViews; b <= twice; b++ {
			if len(check.History(simulated(seed, b)).Violations) > 0 {
				caught[b]++
			}
		}
	}
	for b := slowViews; b <= twice; b++ {
		if caught[b] < seeds*3/4 {
			t.Errorf("bug %d was caught in %d of %d runs", b, caught[b], seeds)
		}
	}
}
