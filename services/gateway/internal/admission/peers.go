package admission

import (
	"time"

	"github.com/sandbar-io/sandbar/pkg/contract"
)

const (
	// often is how often a gateway tells the others the same again where a flood's command
	// waits or goes, seldom that commands come at all, and each how often at most of whom.
	often, seldom, each = 300 * time.Millisecond, 10 * time.Second, time.Second
	// believed is for how long what a gateway told is: it may have ended without a word.
	believed = time.Second
	// waited is for how long nothing goes or ends before the turn is anybody's, and one
	// command, or a measure, keeps the others.
	waited = probeLasts
	// kept is for how long what others tell can keep a gateway from letting one go.
	kept = 2 * waited
	// maxPeers bounds what is remembered of names that anybody may have made up.
	maxPeers = 100
)

// peers are the gateways, this one and those that something was heard of lately. Where
// Kubernetes works on few commands at once the floods of all share the places: each gateway
// tells when a command of its waits, goes and ends, and all find by the same rule whose is
// next. One of them finds out how many places there are. What is not heard, or too late,
// lets one too many go.
type peers struct {
	self  string
	tell  func(contract.Pace)
	told  contract.Pace // last
	since time.Time     // when it was told last for the tenant's sake
	beats *time.Timer   // tells the same again; nil: that is not needed
	wakes *time.Timer   // looks at the queue when a flood has rested; nil: none rested yet

	floods int    // this gateway's commands under way, of tenants that flood
	went   uint64 // of these, ever
	waits  bool   // one waits for the others

	heard map[string]peer // of the others, by name
	last  string          // whose went last
	began time.Time       // when that was
	moved time.Time       // when one last went or ended
	mine  time.Time       // when one of this gateway's did
}

type peer struct {
	contract.Pace
	at     time.Time // when it was heard of
	moved  time.Time // when one of its went or ended
	probes time.Time // since when it measures
}

func newPeers() *peers { return &peers{tell: func(contract.Pace) {}, heard: map[string]peer{}} }

// Among makes the gate one of several, by a name of its own. What the others are to Hear
// goes to tell, which must not block. It is called before the first Join.
func (g *Gate) Among(name string, tell func(contract.Pace)) {
	g.peers.self, g.peers.told.Gateway, g.peers.tell = name, name, tell
}

// Hear takes what another gateway told.
func (g *Gate) Hear(told contract.Pace) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pace == nil || told.Gateway == g.peers.self {
		return
	}
	g.peers.hear(told)
	g.called(told.Tenant)
	g.admit()
}

// follow takes over how many places there are from the gateway that finds it out, which
// this one is for as long as the others were told so. All together may have as many as each
// of them.
func (g *Gate) follow() {
	p, pace := g.peers, g.pace
	if pace == nil {
		return
	}
	pace.hushed = p.probe()
	pace.most = float64(g.limits.Total * (1 + p.flooded()))
	places := p.places(pace.knows() && p.told.Places > 0)
	if pace.follows = places > 0; pace.follows {
		pace.now, pace.calm = min(max(least, places), pace.most), false
	}
}

// under is how many commands are under way, as far as it is known.
func (g *Gate) under() int { return g.running + g.peers.runs() }

// next reports whether a flood's command may go.
func (g *Gate) next() bool {
	p := g.peers
	switch {
	case g.pace.probe && g.running > 0:
		return false
	case time.Since(p.mine) >= kept:
		return true
	}
	free := g.pace.places() - p.floods - p.runs()
	return free > 0 && g.rest() <= 0 && p.turn(free, g.pace.probe)
}

// rest is for how long floods rest still.
func (g *Gate) rest() time.Duration {
	p := g.peers
	return g.pace.rest(p.moved.Sub(p.began)) - time.Since(p.moved)
}

// hold notes that a flood's command waits for the others, where it does not wait for this
// gateway's own.
func (g *Gate) hold() {
	p := g.peers
	p.waits = !g.taken() && p.floods < g.pace.places() && (!g.pace.probe || g.running == 0)
	if rest := g.rest(); p.waits && rest > 0 {
		p.wakes = reset(p.wakes, rest, g.look)
	}
}

// say tells the others what has changed for them, or the same again.
func (g *Gate) say(again bool) {
	if g.pace == nil || g.own.tenant == "" {
		return
	}
	p := g.peers
	is := contract.Pace{Gateway: p.self, Tenant: g.own.tenant, Went: p.told.Went, Probes: g.paced && g.pace.probe}
	if g.paced {
		is.Waits, is.Went, is.Runs = p.waits, p.went, p.floods
		if g.pace.knows() && (p.waits || p.floods > 0 || g.pace.probe) {
			is.Places = g.pace.now
		}
	}
	same := p.told
	same.Tenant = is.Tenant // that alone is not worth a word
	if is == same && !again {
		return
	}
	p.told = is
	p.tell(is)
	p.beats = reset(p.beats, p.rhythm(), g.beat)
}

// announce tells the others whose command has come, if they may not know of it.
func (g *Gate) announce() {
	g.own = g.last
	p := g.peers
	if p.beats == nil || p.told.Tenant != g.own.tenant && time.Since(p.since) >= each {
		p.since = time.Now()
		g.say(true)
	}
}

// beat tells the same again, as long as there are commands.
func (g *Gate) beat() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.admit()
	if time.Since(g.own.at) >= 2*seldom && g.peers.rhythm() == seldom {
		g.peers.beats = nil
		return
	}
	g.say(true)
}

// rhythm is how often the same is told again.
func (p *peers) rhythm() time.Duration {
	if p.told.Waits || p.told.Runs > 0 || p.told.Probes {
		return often
	}
	return seldom
}

// reset has a timer end after d from now on.
func reset(t *time.Timer, d time.Duration, do func()) *time.Timer {
	if t == nil {
		return time.AfterFunc(d, do)
	}
	t.Reset(d)
	return t
}

// begin notes that a command of this gateway's floods goes, and end that one ended.
func (p *peers) begin() {
	p.floods++
	p.went++
	p.waits = false // who else waits is looked at again
	p.move(p.self, true)
	p.mine = p.moved
}

func (p *peers) end() {
	p.floods--
	p.move(p.self, false)
	p.mine = p.moved
}

// hear takes what another one told.
func (p *peers) hear(told contract.Pace) {
	for name, is := range p.heard {
		if !is.fresh() {
			delete(p.heard, name)
		}
	}
	was, ok := p.heard[told.Gateway]
	if !ok && len(p.heard) >= maxPeers {
		return
	}
	is := peer{told, time.Now(), was.moved, was.probes}
	if told.Probes && !was.Probes {
		is.probes = is.at
	}
	went := told.Went != was.Went
	if !ok {
		went = told.Runs > 0 // what ended before it was heard of says nothing
	}
	if went || told.Runs != was.Runs {
		is.moved = is.at
		p.move(told.Gateway, went)
	}
	p.heard[told.Gateway] = is
}

// move notes that one of a gateway's went, or ended, now.
func (p *peers) move(gateway string, went bool) {
	if p.moved = time.Now(); went {
		p.last, p.began = gateway, p.moved
	}
}

// runs is how many floods' commands others have under way.
func (p *peers) runs() (n int) {
	for _, is := range p.heard {
		if is.fresh() && time.Since(is.moved) < waited {
			n += is.Runs
		}
	}
	return n
}

// flooded is how many others have a flood.
func (p *peers) flooded() (n int) {
	for _, is := range p.heard {
		if is.fresh() && (is.Waits || is.Runs > 0) {
			n++
		}
	}
	return n
}

// probe reports whether another one measures, for which all floods rest but its own.
func (p *peers) probe() bool {
	for _, is := range p.heard {
		if is.probing() {
			return true
		}
	}
	return false
}

// places is how many another gateway says that there are: the first of those that know,
// by their names. 0: none of them does, or this one is the first itself.
func (p *peers) places(knows bool) (n float64) {
	first := p.self
	for name, is := range p.heard {
		if is.fresh() && is.Places > 0 && (name < first || !knows) {
			first, n, knows = name, is.Places, true
		}
	}
	return n
}

// turn reports whether it is this gateway's turn, of those that have a flood's command
// waiting: there is a place for each of them, or it comes next. While some measure it is one
// of theirs.
func (p *peers) turn(free int, probes bool) bool {
	next := p.self
	for name, is := range p.heard {
		switch {
		case is.probing() && !probes:
			return false
		case !is.fresh() || !is.Waits || probes && !is.Probes:
			continue
		case p.before(name, next):
			next = name
		}
		free--
	}
	return free > 0 || next == p.self || time.Since(p.moved) >= waited
}

// before reports whether a's turn comes before b's: they go round, from the one that went last.
func (p *peers) before(a, b string) bool {
	if a > p.last != (b > p.last) {
		return a > p.last
	}
	return a < b
}

func (p peer) fresh() bool   { return time.Since(p.at) < believed }
func (p peer) probing() bool { return p.Probes && p.fresh() && time.Since(p.probes) < waited }
