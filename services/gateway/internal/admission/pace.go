package admission

import (
	"cmp"
	"slices"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// Slowness is what commands take, in units of what their verb takes alone. Below
// easy there may be more under way, above hard there must be fewer. hard is well
// below the 2 that one tenant's flood may cost another.
const (
	easy, hard = 1.15, 1.35
	aim        = (easy + hard) / 2
	choked     = 4 // what a command counts for which Kubernetes had no time
)

const (
	atFirst = 8 // under way, while nothing is known

	// least is what the number never falls below: a flood's command, and then for three times
	// as long none.
	least = 1. / 4 // but no rest is longer than patience

	window  = 500 * time.Millisecond // between two decisions, at least
	enough  = 8                      // commands in a window, at least
	probing = 4                      // commands in one that measures
	known   = 2                      // of a verb, for a measure of it

	// probeLasts bounds how long all wait for one that is slow for a reason of its own.
	probeLasts = 2 * time.Second

	// slot is for how long a measure is believed while many are under way. It begins
	// with the wall clock's minute, so that gateways that do not hear of each other measure
	// at about the same time: none takes what another's commands cost for its own.
	slot = time.Minute
	// step is a slot while a flood is young.
	step = 10 * time.Second
)

// sameSlot reports whether a time lies in the slot of now.
func sameSlot(t time.Time, slot time.Duration) bool {
	return t.Truncate(slot).Equal(time.Now().Truncate(slot))
}

// pace says how many commands may be under way before Kubernetes gets slower by
// it: where it works on fewer at once, each takes longer and none comes earlier,
// another tenant's neither. So the number rises while a verb's commands take about
// as long as one alone, and falls where they take longer. For floods it is that of all
// gateways together, of which one finds it out. Below 1 they rest after each command.
//
// What one takes alone is measured once in a slot, where the number matters, by
// letting all others wait for a moment.
type pace struct {
	most float64 // the number never rises above it
	now  float64 // the number
	calm bool    // it was never too many: it may double

	follows bool // another gateway finds the number out
	hushed  bool // another gateway measures

	probe  bool      // one at a time, to measure
	tried  time.Time // when the last probe began
	probed time.Time // when it ended
	alone  map[sandbox.Verb]measure

	// The window.
	began   time.Time
	seen    map[sandbox.Verb][]time.Duration
	choked  int
	samples int
	peak    int  // under way at most
	reached bool // all places were taken
}

// measure is what a verb takes alone, and when that was measured by a probe.
type measure struct {
	took time.Duration
	at   time.Time
}

func newPace(most int) *pace {
	return &pace{
		most: float64(most), now: float64(min(atFirst, most)), calm: true, began: time.Now(),
		alone: map[sandbox.Verb]measure{}, seen: map[sandbox.Verb][]time.Duration{},
	}
}

// places is how many commands may be under way.
func (p *pace) places() int { return max(1, int(p.number())) }

// number is places, and below 1 what part of the time a flood has one under way.
func (p *pace) number() float64 {
	if p.probe {
		return 1
	}
	return p.now
}

// knows reports whether it was measured what any command takes.
func (p *pace) knows() bool { return len(p.alone) > 0 }

// rest is for how long floods wait after one of theirs that took so long.
func (p *pace) rest(took time.Duration) time.Duration {
	return min(patience, time.Duration((1/min(1, p.number())-1)*float64(took)))
}

// waits is how long a command has waited since a time, or since the last probe: that all
// wait for.
func (p *pace) waits(since time.Time) time.Duration {
	if p.probe {
		return 0
	}
	return min(time.Since(since), time.Since(p.probed))
}

// in notes that a command went, and that so many are under way with it, of this gateway
// and in all. After a quiet slot the number is what it was at first, if not more.
func (p *pace) in(own, running int) {
	if own == 1 && time.Since(p.began) > slot && !p.follows {
		p.now, p.calm, p.probe = max(p.now, min(atFirst, p.most)), true, false
		p.begin(0)
	}
	p.peak = max(p.peak, running)
	p.reached = p.reached || running >= p.places()
}

// out notes how a command ended, that so many are under way without it, and how often all
// may be made to wait for a measure; 0: not now.
func (p *pace) out(v sandbox.Verb, took time.Duration, e End, running int, every time.Duration) {
	if p.probe && p.peak > 1 { // those from before were not alone
		if running == 0 {
			p.begin(0)
		}
		return
	}
	switch e {
	case Elsewhere:
		if !p.probe { // that must end, even if nothing is to be learned
			return
		}
	case Choked:
		p.choked++
	case Done:
		p.seen[v] = append(p.seen[v], took)
	}
	p.samples++
	over := p.samples >= enough && time.Since(p.began) >= window || !sameSlot(p.began, cmp.Or(every, slot))
	if p.probe {
		over = p.samples >= probing
	}
	if over {
		p.decide(every)
		p.begin(running)
	}
}

// giveUp ends a probe that lasts too long, with what it has measured; false: that one is
// over.
func (p *pace) giveUp(running int) bool {
	if !p.probe || time.Since(p.tried) < probeLasts {
		return false
	}
	if p.peak > 1 {
		clear(p.seen) // they were not alone
	}
	p.decide(0)
	p.begin(running)
	return true
}

func (p *pace) begin(running int) {
	clear(p.seen)
	p.samples, p.choked, p.began, p.peak, p.reached = 0, 0, time.Now(), running, false
}

// decide ends a window, and may begin to measure, so often; 0: not now.
func (p *pace) decide(every time.Duration) {
	slow, measured, fresh := p.slowness(cmp.Or(every, slot))
	p.measure()
	switch {
	case p.probe:
		p.probe, p.probed = false, time.Now()
	case p.follows:
	case !p.reached && (!fresh || slow < hard || p.peak <= 1): // too few to tell
	case every > 0 && !fresh && !sameSlot(p.tried, every) && !p.hushed:
		p.probe, p.tried = true, time.Now()
	case !measured:
	case slow > hard:
		p.calm = false
		p.now = max(least, min(p.now, float64(p.peak))*max(.5, aim/slow))
	case slow < easy && p.calm:
		p.now = min(p.most, 2*p.now)
	case slow < easy:
		p.now = min(p.most, aim*p.now)
	}
}

// slowness is the median of the window's commands of whose verb it is known what one
// takes alone. It says whether these are most, and whether most are of verbs that were
// measured in this slot.
func (p *pace) slowness(slot time.Duration) (slow float64, measured, fresh bool) {
	all := slices.Repeat([]float64{choked}, p.choked)
	young := p.choked
	for v, seen := range p.seen {
		m, ok := p.alone[v]
		if !ok {
			continue
		}
		if sameSlot(m.at, slot) {
			young += len(seen)
		}
		for _, took := range seen {
			all = append(all, float64(took)/float64(m.took))
		}
	}
	if len(all) == 0 {
		return 1, false, false
	}
	return median(all), 2*len(all) >= p.samples, 2*young >= p.samples
}

// measure learns what verbs take alone: by a probe, and else where many took clearly
// less than what was known, or one alone happened to be under way and nothing is known
// yet. The least of many windows would only tell how much they scatter.
func (p *pace) measure() {
	for v, seen := range p.seen {
		if len(seen) < known {
			continue
		}
		took := max(median(seen), time.Microsecond)
		m, ok := p.alone[v]
		switch {
		case p.probe && ok && took > m.took:
			p.alone[v] = measure{took: (m.took + took) / 2, at: time.Now()}
		case p.probe:
			p.alone[v] = measure{took: took, at: time.Now()}
		case ok && len(seen) >= enough && float64(took)*easy < float64(m.took), !ok && p.peak <= 1:
			p.alone[v] = measure{took: took, at: m.at}
		}
	}
}

// median is the lower of the two in the middle: where few are measured, some of them are
// beside another gateway's, and take longer.
func median[T float64 | time.Duration](of []T) T {
	slices.Sort(of)
	return of[(len(of)-1)/2]
}
