package admission_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/gateway/internal/admission"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func join(t *testing.T, g *admission.Gate, tenant string) *admission.Ticket {
	t.Helper()
	ticket, err := g.Join(tenant, sandbox.Start)
	if err != nil {
		t.Fatalf("%s: %v", tenant, err)
	}
	return ticket
}

func ready(t *admission.Ticket) bool {
	select {
	case <-t.Ready():
		return true
	default:
		return false
	}
}

// in reports whether a ticket was let in.
func in(t *admission.Ticket) bool { return ready(t) && t.Err() == nil }

func TestNotBounded(t *testing.T) {
	t.Parallel()
	g := admission.New(admission.Limits{})
	for range 1000 {
		if !in(join(t, g, "a")) {
			t.Fatal("it waits")
		}
	}
}

// Each tenant's own come in their order, and the tenants take turns.
func TestTurns(t *testing.T) {
	t.Parallel()
	g := admission.New(admission.Limits{Total: 1, Waiting: 100})
	running := join(t, g, "a")
	var queue []*admission.Ticket
	for _, tenant := range []string{"a", "a", "a", "b", "b", "c"} {
		queue = append(queue, join(t, g, tenant))
	}
	for _, next := range []int{0, 3, 5, 1, 4, 2} { // a b c a b a
		for i, ticket := range queue {
			if ticket != running && ticket != nil && ready(ticket) {
				t.Errorf("number %d is let in out of turn", i)
			}
		}
		running.Leave()
		running = queue[next]
		if !in(running) {
			t.Fatalf("it is not the turn of number %d", next)
		}
		queue[next] = nil
	}
	running.Leave()
	running.Leave() // once more does nothing
	first, second := join(t, g, "a"), join(t, g, "b")
	if !in(first) || ready(second) {
		t.Error("a place was given back twice")
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	const tenantFull, allFull = sandbox.CodeRateLimited, sandbox.CodeUnavailable
	for name, tt := range map[string]struct {
		limits admission.Limits
		join   string // tenants, one letter each
		last   sandbox.Code
		pushed int // whose place is taken by the last; -1: nobody's
	}{
		"its own queue":                {admission.Limits{PerTenant: 1, Total: 9, Waiting: 99}, "aaaaaa", tenantFull, -1},
		"another's is no matter":       {admission.Limits{PerTenant: 1, Total: 9, Waiting: 99}, "aaaaabb", "", -1},
		"the whole, by the longest":    {admission.Limits{PerTenant: 9, Total: 1, Waiting: 3}, "aaaaa", allFull, -1},
		"the whole, by another":        {admission.Limits{PerTenant: 9, Total: 1, Waiting: 3}, "aaaab", "", 3},
		"the whole, it would be equal": {admission.Limits{PerTenant: 9, Total: 1, Waiting: 2}, "aabb", allFull, -1},
		"the whole, a late one":        {admission.Limits{PerTenant: 9, Total: 1, Waiting: 4}, "aaaabc", "", 3},
		"none waits":                   {admission.Limits{PerTenant: 1, Total: 2}, "aba", allFull, -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := admission.New(tt.limits)
			var tickets []*admission.Ticket
			var err error
			for i, tenant := range tt.join {
				var ticket *admission.Ticket
				if ticket, err = g.Join(string(tenant), sandbox.Start); err != nil && i != len(tt.join)-1 {
					t.Fatalf("number %d: %v", i, err)
				}
				tickets = append(tickets, ticket)
			}
			if sandbox.CodeOf(err) != tt.last {
				t.Errorf("the last is told %v, want %q", err, tt.last)
			}
			refused(t, err)
			for i, ticket := range tickets {
				if ticket == nil {
					continue
				}
				pushed := ready(ticket) && ticket.Err() != nil
				if pushed != (i == tt.pushed) {
					t.Errorf("number %d: pushed out %t", i, pushed)
				}
				if pushed {
					refused(t, ticket.Err())
					ticket.Leave()
				}
			}
		})
	}
}

// refused: whoever is told no is told when to come again.
func refused(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	var e *sandbox.Error
	if !errors.As(err, &e) || e.RetryAfter <= 0 || e.RetryAfter > time.Second {
		t.Errorf("%#v", err)
	}
}

func TestGiveUp(t *testing.T) {
	t.Parallel()
	g := admission.New(admission.Limits{PerTenant: 1, Total: 2, Waiting: 9})
	a, b := join(t, g, "a"), join(t, g, "b")
	own, foreign, last := join(t, g, "a"), join(t, g, "c"), join(t, g, "c")
	if err := own.GiveUp(admission.ReasonLate); sandbox.CodeOf(err) != sandbox.CodeRateLimited {
		t.Errorf("behind its own tenant's: %v", err)
	}
	if err := foreign.GiveUp(admission.ReasonLate); sandbox.CodeOf(err) != sandbox.CodeUnavailable {
		t.Errorf("behind others': %v", err)
	}
	a.Leave()
	if !in(last) {
		t.Error("those that gave up hold the place")
	}
	b.Leave()
}

// place is a ticket of the walk.
type place struct {
	*admission.Ticket
	tenant string
}

// TestWalk joins, leaves and gives up in seeded orders, and looks after each
// step: no bound is passed, no place stays free for which somebody waits, and
// nobody is let in twice while another waits who could have been.
func TestWalk(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		l := admission.Limits{PerTenant: 1 + rnd.IntN(4), Total: 1 + rnd.IntN(8), Waiting: rnd.IntN(12)}
		g := admission.New(l)
		var waiting, running []place
		passed := map[string]map[string]int{} // for whom waits: how often each other was let in meanwhile
		for step := range 300 {
			switch n := rnd.IntN(10); {
			case n < 5:
				tenant := fmt.Sprint(rnd.IntN(4) * rnd.IntN(2)) // one floods
				if ticket, err := g.Join(tenant, sandbox.Start); err == nil {
					waiting = append(waiting, place{ticket, tenant})
				} else {
					refused(t, err)
				}
			case n < 8 && len(running) > 0:
				i := rnd.IntN(len(running))
				running[i].Leave()
				running = append(running[:i], running[i+1:]...)
			case len(waiting) > 0:
				i := rnd.IntN(len(waiting))
				_ = waiting[i].GiveUp(admission.ReasonLate)
				waiting = append(waiting[:i], waiting[i+1:]...)
			}
			let, still := []place{}, []place{}
			for _, p := range waiting {
				switch {
				case in(p.Ticket):
					let = append(let, p)
				case ready(p.Ticket): // pushed out
					p.Leave()
				default:
					still = append(still, p)
				}
			}
			waiting, running = still, append(running, let...)
			if msg := look(l, waiting, running); msg != "" {
				t.Fatalf("seed %d, step %d, %+v: %s", seed, step, l, msg)
			}
			if msg := turns(l, passed, let, waiting, running); msg != "" {
				t.Fatalf("seed %d, step %d, %+v: %s", seed, step, l, msg)
			}
		}
		for _, p := range append(waiting, running...) {
			p.Leave()
		}
		for range l.Total { // all places are there again, for as many tenants
			if !in(join(t, g, fmt.Sprint("fresh", rnd.Uint64()))) {
				t.Fatalf("seed %d: a place is lost", seed)
			}
		}
	}
}

func count(places []place) map[string]int {
	out := map[string]int{}
	for _, p := range places {
		out[p.tenant]++
	}
	return out
}

func look(l admission.Limits, waiting, running []place) string {
	of := count(running)
	for tenant, n := range of {
		if n > l.PerTenant {
			return fmt.Sprintf("%d of %s are under way", n, tenant)
		}
	}
	if len(running) > l.Total || len(waiting) > l.Waiting {
		return fmt.Sprintf("%d are under way, %d wait", len(running), len(waiting))
	}
	if len(running) < l.Total {
		for tenant := range count(waiting) {
			if of[tenant] < l.PerTenant {
				return fmt.Sprintf("%s waits, and there is room", tenant)
			}
		}
	}
	return ""
}

// turns: while a tenant waits and is below its bound, no other comes in twice.
func turns(l admission.Limits, passed map[string]map[string]int, let, waiting, running []place) string {
	for _, p := range let {
		delete(passed, p.tenant)
	}
	queued, of := count(waiting), count(running)
	for tenant := range passed {
		if queued[tenant] == 0 || of[tenant] >= l.PerTenant {
			delete(passed, tenant)
		}
	}
	for tenant, others := range passed {
		for _, p := range let {
			if others[p.tenant]++; others[p.tenant] > 1 {
				return fmt.Sprintf("%s came in twice while %s waited", p.tenant, tenant)
			}
		}
	}
	for tenant := range queued {
		if passed[tenant] == nil && of[tenant] < l.PerTenant {
			passed[tenant] = map[string]int{}
		}
	}
	return ""
}
