package plan

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sandbar-io/sandbar/tools/robustness/internal/check"
)

// Kind is a kind of fault.
type Kind string

// The kinds.
const (
	Kill        Kind = "kill"         // SIGKILL of a service, started again after a while
	Freeze      Kind = "freeze"       // SIGSTOP, and SIGCONT after a while
	Restart     Kind = "restart"      // SIGTERM, and started again
	Crash       Kind = "crash"        // a service kills itself between two side effects
	Hang        Kind = "hang"         // a service's work stops there for a while
	LostAnswer  Kind = "lost-answer"  // a side effect succeeds, and the service is told that it failed
	NATSRestart Kind = "nats-restart" // SIGTERM, and started again
	NATSKill    Kind = "nats-kill"    // SIGKILL, away for a while
	NATSFreeze  Kind = "nats-freeze"
	// NATSLameDuck ends NATS as its own tool does: no JetStream from then on, and the
	// connections stay for ten seconds and go one after the other.
	NATSLameDuck Kind = "nats-lame-duck"
	NATSEmptied  Kind = check.Emptied // killed, its store removed
	APIFreeze    Kind = "api-freeze"  // the API server says nothing
	APIKill      Kind = "api-kill"    // SIGKILL of it or of etcd, away for a while
	Cut          Kind = "cut"         // one service loses NATS, by closed connections
	Slow         Kind = "slow"        // what one service and NATS say takes long
	HalfOpen     Kind = "half-open"   // one service and NATS: nothing arrives, nothing is closed
	Deaf         Kind = "deaf"        // the same in one direction: what NATS says does not arrive
	PodsDeleted  Kind = "pods-deleted"
)

// Kinds are all of them.
var Kinds = []Kind{
	Kill, Freeze, Restart, Crash, Hang, LostAnswer, NATSRestart, NATSKill, NATSFreeze, NATSLameDuck, NATSEmptied,
	APIFreeze, APIKill, Cut, Slow, HalfOpen, Deaf, PodsDeleted,
}

// Targets are what faults may hit.
type Targets struct {
	Services []string // all processes
	Proxied  []string // those that reach NATS through a proxy
	Spared   []string // those that no fault ends: they live as long as the run
	// Points are the failpoints, by the kind of service; Answers those of them at which
	// an answer can be lost.
	Points, Answers map[string][]string
}

// Fault is one fault.
type Fault struct {
	Kind   Kind
	Target string
	Point  string // of a crash, a hang or a lost answer
	Nth    int    // the hit of the point that counts, and how many pods are deleted
	Hold   time.Duration
}

// Round is what happens at the same time, and the calm after it.
type Round struct {
	Faults []Fault
	Rest   time.Duration
}

// Rounds makes the rounds of a run.
type Rounds struct {
	random  *rand.Rand
	targets Targets
	deck    []Kind
}

// NewRounds returns the rounds of a seed.
func NewRounds(seed uint64, t Targets) *Rounds {
	return &Rounds{random: source(seed, rounds), targets: t}
}

// Next is the next round: every kind comes once before one comes again, and one
// round in four has two of them.
func (r *Rounds) Next() Round {
	round := Round{Faults: []Fault{r.fault(r.draw())}, Rest: r.between(1500, 4000)}
	if r.random.IntN(4) == 0 {
		// Not two that are about the same process: the one would undo the other.
		if second := r.fault(r.draw()); disjoint(round.Faults[0], second) {
			round.Faults = append(round.Faults, second)
		}
	}
	return round
}

func (r *Rounds) draw() Kind {
	if len(r.deck) == 0 {
		r.deck = append(r.deck, Kinds...)
		r.random.Shuffle(len(r.deck), func(i, j int) { r.deck[i], r.deck[j] = r.deck[j], r.deck[i] })
	}
	k := r.deck[0]
	r.deck = r.deck[1:]
	return k
}

func (r *Rounds) fault(k Kind) Fault {
	f := Fault{Kind: k, Nth: 1 + r.random.IntN(3), Hold: r.between(200, 4000)}
	switch k {
	case Kill, Restart:
		f.Target = r.of(r.targets.mortal())
	case Freeze:
		f.Target = r.of(r.targets.Services)
		f.Hold = r.between(1000, 9000) // a leader's lease may end meanwhile
	case Crash, Hang:
		f.Target = r.of(r.targets.with(r.targets.Points))
		f.Point = r.of(r.targets.Points[KindOf(f.Target)])
		f.Hold = r.between(3000, 9000) // a leader's lease may end meanwhile
	case LostAnswer:
		f.Target = r.of(r.targets.with(r.targets.Answers))
		f.Point = r.of(r.targets.Answers[KindOf(f.Target)])
	case Cut, Slow:
		f.Target = r.of(r.targets.Proxied)
	case HalfOpen, Deaf:
		f.Target = r.of(r.targets.Proxied)
		f.Hold = r.between(2000, 12000) // a dead connection is noticed after 9 s at most
	case NATSRestart, NATSKill, NATSFreeze, NATSLameDuck, NATSEmptied:
		f.Target = "nats"
	case APIFreeze:
		f.Target = "kube-apiserver"
		f.Hold = r.between(1000, 8000)
	case APIKill:
		f.Target = r.of([]string{"kube-apiserver", "etcd"})
	case PodsDeleted:
		f.Hold = 0
	}
	return f
}

// with are those that have points, and may be started anew for one.
func (t Targets) with(points map[string][]string) (out []string) {
	for _, s := range t.mortal() {
		if len(points[KindOf(s)]) > 0 {
			out = append(out, s)
		}
	}
	return out
}

func (t Targets) mortal() (out []string) {
	for _, s := range t.Services {
		if !slices.Contains(t.Spared, s) {
			out = append(out, s)
		}
	}
	return out
}

// KindOf is the kind of service of an instance: gateway of gateway-0.
func KindOf(instance string) string {
	for i := len(instance) - 1; i >= 0; i-- {
		if instance[i] == '-' {
			return instance[:i]
		}
	}
	return instance
}

func disjoint(a, b Fault) bool { return a.Kind != b.Kind && (a.Target != b.Target || a.Target == "") }

func (r *Rounds) of(from []string) string { return from[r.random.IntN(len(from))] }

// between is a time between so many milliseconds.
func (r *Rounds) between(low, high int64) time.Duration {
	return time.Duration(low+r.random.Int64N(high-low)) * time.Millisecond
}
