// Package admission lets commands go on their way: so many of one tenant and so
// many of all at a time, and if that is wanted no more than Kubernetes works on without
// getting slower, but for bursts. What must wait stands in a queue of its tenant, and the
// tenants take turns, so that one tenant's flood is before its own requests only.
package admission

import (
	"container/list"
	"sync"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// Limits bound a Gate. 0 in the first two: not bounded.
type Limits struct {
	PerTenant int  // under way at a time, of one tenant
	Total     int  // under way at a time, of all
	Waiting   int  // in the queue, of all
	Paced     bool // where there are several tenants no more go for long than Kubernetes works on at once
}

const (
	// rounds bounds one tenant's queue, in units of PerTenant: the last of it
	// waits that many times as long as a command takes.
	rounds = 4
	// retryAfter is what the refused are told. A command takes less.
	retryAfter = time.Second
)

// Gate admits. Its methods may be called concurrently.
type Gate struct {
	limits Limits
	counts counts

	mu      sync.Mutex
	pace    *pace // nil: Total is what there is
	paced   bool  // so many go as it says, for there are tenants to be fair to
	peers   *peers
	own     caller // the last one through this gateway
	last    caller // the last one through any
	other   caller // the last one of another tenant than last
	running int
	waiting int
	tenants map[string]*tenant // that have anything here
	turns   list.List          // of *tenant: who may be admitted next, in this order
}

// caller is a tenant that has sent a command, and when.
type caller struct {
	tenant string
	at     time.Time
}

// sharedFor is how long a tenant that sent a command is one to be fair to.
const sharedFor = 10 * time.Minute

// tenant is what a tenant has at the gate.
type tenant struct {
	name    string
	running int
	queue   list.List     // of *Ticket
	turn    *list.Element // in Gate.turns; nil: nothing waits, or PerTenant is reached
	late    late
	kept    bool // for late alone, which a timer ends
}

// alone reports whether a tenant that floods has one command here, which waits: by that it
// floods no more.
func (t *tenant) alone() bool { return t.late.floods() && t.running == 0 && t.queue.Len() == 1 }

// Ticket is one command's place: in the queue at first, on its way later.
type Ticket struct {
	gate   *Gate
	of     *tenant
	verb   sandbox.Verb
	place  *list.Element // in the tenant's queue; nil: not in it any more
	inside bool
	flood  bool // its tenant floods
	began  time.Time
	timer  *time.Timer // looks at the queue when it has waited long enough; nil: it need not
	went   time.Time
	end    End

	ready chan struct{}
	err   error // before ready is closed
}

// End is what Kubernetes had to do with a command's end.
type End int

// The ends.
const (
	Elsewhere End = iota // nothing, or nobody knows: what it took says nothing
	Done                 // it did all that was to be done
	Choked               // it had no time, or was not heard of in time
)

// New returns a gate.
func New(l Limits) *Gate {
	g := &Gate{limits: l, counts: newCounts(), tenants: map[string]*tenant{}, peers: newPeers()}
	if l.Total > 0 && l.Paced {
		g.pace = newPace(l.Total)
	}
	return g
}

// Join takes a place for a command, or says at once that there is none. Its holder
// leaves it in any case.
func (g *Gate) Join(name string, v sandbox.Verb) (*Ticket, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.called(name)
	g.announce()
	of := g.tenants[name]
	if of == nil {
		of = &tenant{name: name}
		g.tenants[name] = of
	}
	defer g.forget(of)
	if err := g.room(of); err != nil {
		return nil, err
	}
	t := &Ticket{gate: g, of: of, verb: v, ready: make(chan struct{}), began: time.Now()}
	t.place = of.queue.PushBack(t)
	g.waiting++
	g.turn(of)
	g.admit()
	if t.place != nil && g.pace != nil {
		t.timer = time.AfterFunc(patience, t.look)
	}
	return t, nil
}

// look is the gate's, and comes again when the command is held for too long.
func (t *Ticket) look() {
	g := t.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	g.admit()
	if rest := held - time.Since(t.began); t.place != nil && rest > 0 {
		t.timer.Reset(rest)
	}
}

// look lets in whom time alone has made due.
func (g *Gate) look() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.admit()
}

// called notes who sends commands. A tenant that has Kubernetes to itself may fill
// it: of what each takes longer then nothing is lost.
func (g *Gate) called(name string) {
	if name != g.last.tenant {
		g.other = g.last
	}
	g.last = caller{name, time.Now()}
	paced := g.pace != nil && g.other.tenant != "" && time.Since(g.other.at) < sharedFor
	if paced && !g.paced {
		g.pace.begin(g.under())
	}
	g.paced = paced
}

// room makes room in the queue for one more, where it does not go through at
// once. Where all of it is taken, the longest queue gives way: who floods it
// cannot keep others out.
func (g *Gate) room(of *tenant) error {
	if g.free(of) && g.below(of) {
		return nil
	}
	if g.limits.PerTenant > 0 && of.queue.Len() >= rounds*g.limits.PerTenant {
		g.counts.refuse(ReasonTenant)
		return tooMany()
	}
	if g.waiting < g.limits.Waiting {
		return nil
	}
	longest := of
	for _, t := range g.tenants {
		if t.queue.Len() > longest.queue.Len() {
			longest = t
		}
	}
	g.counts.refuse(ReasonQueue)
	if longest.queue.Len() <= of.queue.Len()+1 { // it would only change places
		return full()
	}
	last := longest.queue.Back().Value.(*Ticket)
	g.remove(last)
	last.err = full()
	close(last.ready)
	return nil
}

// free reports whether one more of a tenant may go. The pace is no reason for one
// that has nothing under way to wait: who floods has taken all of it. Up to as many
// again go so, for otherwise it would bound nothing where tenants are many.
func (g *Gate) free(t *tenant) bool {
	switch {
	case g.taken():
		return false
	case !g.paced:
		return true
	case t.late.floods():
		return g.next()
	case g.running < g.pace.places():
		return true
	}
	return t.running == 0 && !g.pace.probe && g.running < 2*g.pace.places()
}

func (g *Gate) taken() bool { return g.limits.Total > 0 && g.running >= g.limits.Total }

// spite reports whether a tenant's first goes in spite of the pace: it is overdue in a
// burst, or one of few that have waited for too long.
func (g *Gate) spite(t *tenant, first *Ticket, overdue bool) bool {
	if !g.paced || g.taken() {
		return false
	}
	return overdue && t.late.bursts() || !g.pace.probe && t.queue.Len() <= few && time.Since(first.began) >= held
}

// measured says how often all are made to wait for a measure; 0: not now. Those that
// burst are not, unless there is a flood to be held back.
func (g *Gate) measured() time.Duration {
	bursts, floods := false, false
	for _, t := range g.tenants {
		if t.late.young() {
			return step
		}
		bursts = bursts || t.late.bursts()
		floods = floods || t.late.floods()
	}
	if bursts && !floods {
		return 0
	}
	return slot
}

func (g *Gate) below(t *tenant) bool {
	return g.limits.PerTenant <= 0 || t.running < g.limits.PerTenant
}

// turn gives a tenant its turn if it is due one and has none.
func (g *Gate) turn(t *tenant) {
	if t.turn == nil && t.queue.Len() > 0 && g.below(t) {
		t.turn = g.turns.PushBack(t)
	}
}

// admit lets in whose turn it is, as long as there is room: one of each tenant.
func (g *Gate) admit() {
	g.follow()
	g.peers.waits = false
	for e := g.turns.Front(); e != nil; {
		t := e.Value.(*tenant)
		next := t.queue.Front().Value.(*Ticket)
		overdue := g.pace != nil && g.pace.waits(next.began) >= patience
		if overdue && !t.alone() {
			t.late.note()
		}
		if !g.free(t) && !g.spite(t, next, overdue) {
			if g.paced && t.late.floods() {
				g.hold()
			}
			e = e.Next()
			continue
		}
		g.turns.Remove(e)
		t.turn = nil
		g.unqueue(next)
		next.inside, next.went, next.flood = true, time.Now(), t.late.floods()
		g.running++
		if next.flood {
			g.peers.begin()
		}
		if g.paced {
			g.pace.in(g.running, g.under())
		}
		t.running++
		g.turn(t)
		g.counts.wait(time.Since(next.began))
		close(next.ready)
		e = g.turns.Front()
	}
	g.say(false)
}

func (g *Gate) unqueue(t *Ticket) {
	t.of.queue.Remove(t.place)
	t.place = nil
	g.waiting--
	if t.timer != nil {
		t.timer.Stop()
	}
}

// remove takes a ticket out of the queue that is not to go.
func (g *Gate) remove(t *Ticket) {
	g.unqueue(t)
	if t.of.queue.Len() == 0 && t.of.turn != nil {
		g.turns.Remove(t.of.turn)
		t.of.turn = nil
	}
	g.forget(t.of)
}

// forget drops a tenant that has nothing here, nor had lately: there is no end of names.
func (g *Gate) forget(t *tenant) {
	if t.kept || t.running > 0 || t.queue.Len() > 0 {
		return
	}
	rest := t.late.lasts()
	if rest <= 0 {
		delete(g.tenants, t.name)
		return
	}
	t.kept = true
	time.AfterFunc(rest, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		t.kept = false
		g.forget(t)
	})
}

// Ready is closed when the command may go, or never may: see Err.
func (t *Ticket) Ready() <-chan struct{} { return t.ready }

// Err says, after Ready, why it may not go; nil: it may.
func (t *Ticket) Err() error { return t.err }

// ended tells the pace of a command's end. A probe that begins by it is not waited for
// longer than probeLasts.
func (g *Gate) ended(t *Ticket) {
	probed := g.pace.probe
	g.follow()
	g.pace.out(t.verb, time.Since(t.went), t.end, g.under(), g.measured())
	switch {
	case !probed && g.pace.probe:
		time.AfterFunc(probeLasts, func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			if g.pace.giveUp(g.under()) {
				time.AfterFunc(patience, g.look)
			}
			g.admit()
		})
	case probed && !g.pace.probe:
		time.AfterFunc(patience, g.look)
	}
}

// Note says how the command ended, before Leave.
func (t *Ticket) Note(e End) {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	t.end = e
}

// Leave gives the place back, whatever became of it. It may be called again.
func (t *Ticket) Leave() {
	g := t.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	t.leave()
}

func (t *Ticket) leave() {
	g := t.gate
	switch {
	case t.place != nil:
		g.remove(t)
		g.admit()
	case t.inside:
		t.inside = false
		g.running--
		if t.flood {
			g.peers.end()
		}
		if g.paced {
			g.ended(t)
		}
		t.of.running--
		g.turn(t.of)
		g.admit()
		g.forget(t.of)
	}
}

// GiveUp leaves before the command went, and says what its sender is told.
func (t *Ticket) GiveUp(why Reason) error {
	g := t.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.err != nil {
		return t.err // it was counted
	}
	own := !g.below(t.of) || g.paced && (t.of.late.floods() && !t.of.alone() && !g.taken() || 2*t.of.running > g.running)
	t.leave()
	g.counts.refuse(why)
	if own {
		return tooMany()
	}
	return full()
}

// tooMany: the caller's own tenant is the reason. A 429 is the one answer that
// the oldest clients repeat by themselves; the others repeat none.
func tooMany() error {
	return &sandbox.Error{
		Code: sandbox.CodeRateLimited, Message: "too many requests of this tenant are under way, nothing was done, try again",
		RetryAfter: retryAfter,
	}
}

// full: all tenants together are.
func full() error {
	return &sandbox.Error{
		Code: sandbox.CodeUnavailable, Message: "too many requests are under way, nothing was done, try again", RetryAfter: retryAfter,
	}
}
