package admission_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/gateway/internal/admission"
)

// kubernetes works on so many commands at once. More share it: each takes longer
// and none comes earlier.
type kubernetes struct {
	atOnce float64
	beside float64 // by how much all take longer with each one that is under way beside them

	mu   sync.Mutex
	jobs map[*job]struct{}
	done int
	slow float64 // how many times as long all takes; 0: once
	rnd  *rand.Rand
}

type job struct {
	left  time.Duration
	ended chan struct{}
}

const tick = time.Millisecond

// newKubernetes works until ctx ends.
func newKubernetes(ctx context.Context, atOnce float64) *kubernetes {
	k := &kubernetes{atOnce: atOnce, jobs: map[*job]struct{}{}, rnd: rand.New(rand.NewPCG(1, 1))}
	ticks := time.NewTicker(tick)
	go func() {
		defer ticks.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticks.C:
				k.step()
			}
		}
	}()
	return k
}

func (k *kubernetes) step() {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := float64(len(k.jobs))
	part := time.Duration(float64(tick) * min(1, k.atOnce/n) / (1 + k.beside*(n-1)) / max(1, k.slow))
	for j := range k.jobs {
		if j.left -= part; j.left <= 0 {
			delete(k.jobs, j)
			k.done++
			close(j.ended)
		}
	}
}

// do is a command that takes so long alone, a fifth more or less.
func (k *kubernetes) do(alone time.Duration) {
	k.mu.Lock()
	j := &job{left: time.Duration(float64(alone) * (.8 + .4*k.rnd.Float64())), ended: make(chan struct{})}
	k.jobs[j] = struct{}{}
	k.mu.Unlock()
	<-j.ended
}

// busy is how many commands it works on.
func (k *kubernetes) busy() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.jobs)
}

func (k *kubernetes) slower(times float64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.slow = times
}

func (k *kubernetes) wider(atOnce float64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.atOnce = atOnce
}

// rate is how many commands it ends in a second, over so long.
func (k *kubernetes) rate(over time.Duration) float64 {
	count := func() float64 {
		k.mu.Lock()
		defer k.mu.Unlock()
		return float64(k.done)
	}
	before := count()
	<-time.After(over)
	return (count() - before) / over.Seconds()
}

type work map[sandbox.Verb]time.Duration // what each verb takes alone

// tenant sends one command after the other until ctx ends, at the gates in turn, with
// a pause after each, and tells how long each took.
type tenant struct {
	name  string
	gates []*admission.Gate
	k     *kubernetes
	work  work
	pause time.Duration
}

func (s tenant) run(ctx context.Context, took func(time.Duration)) {
	for n := 0; ctx.Err() == nil; n++ {
		for verb, alone := range s.work {
			begin := time.Now()
			if ticket, err := s.gates[n%len(s.gates)].Join(s.name, verb); err == nil {
				<-ticket.Ready()
				if ticket.Err() == nil {
					s.k.do(alone)
					ticket.Note(admission.Done)
					took(time.Since(begin))
				}
				ticket.Leave()
			}
			<-time.After(max(s.pause, tick))
		}
	}
}

// p99 is that of a tenant that sends one at a time, for so long.
func (s tenant) p99(ctx context.Context, lasts time.Duration) time.Duration {
	ctx, stop := context.WithTimeout(ctx, lasts)
	defer stop()
	var all []time.Duration
	s.run(ctx, func(d time.Duration) { all = append(all, d) })
	slices.Sort(all)
	return all[len(all)*99/100]
}

// flood is forty senders at each gate, until stop.
func flood(ctx context.Context, gates []*admission.Gate, k *kubernetes, w work) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for _, g := range gates {
		for range 40 {
			all.Go(func() { tenant{"flood", []*admission.Gate{g}, k, w, 0}.run(ctx, func(time.Duration) {}) })
		}
	}
	return func() { cancel(); all.Wait() }
}

var paced = admission.Limits{PerTenant: 32, Total: 64, Waiting: 512, Paced: true}

func newPaced() *admission.Gate { return admission.New(paced) }

// fleet is so many gates that hear of each other a millisecond later, until ctx ends.
func fleet(ctx context.Context, l admission.Limits, size int) []*admission.Gate {
	gates := make([]*admission.Gate, size)
	type word struct {
		contract.Pace
		at time.Time
	}
	for i := range gates {
		words := make(chan word, 1000)
		gates[i] = admission.New(l)
		gates[i].Among(fmt.Sprint(i), func(told contract.Pace) { words <- word{told, time.Now().Add(tick)} })
		go func() {
			for {
				select {
				case <-ctx.Done():
					return
				case w := <-words:
					select {
					case <-ctx.Done():
						return
					case <-time.After(time.Until(w.at)):
					}
					for _, g := range gates {
						g.Hear(w.Pace)
					}
				}
			}
		}()
	}
	return gates
}

var starts = work{sandbox.Start: 100 * time.Millisecond}

// Where Kubernetes is what is slow, one tenant's flood leaves another's p99 within
// twice what it is alone, and costs itself next to nothing: by one gateway and by
// several.
func TestFloodWhereKubernetesIsTheLimit(t *testing.T) {
	t.Parallel()
	fixed := paced
	fixed.Paced = false
	for name, tt := range map[string]struct {
		limits   admission.Limits
		gateways int
		atOnce   float64
		work     work
		beside   float64
		within   bool    // twice
		rate     float64 // at least
	}{
		"it works on two at once":         {paced, 2, 2, starts, 0, true, .8 * 20},
		"three":                           {paced, 1, 3, starts, 0, true, .9 * 30},
		"two gateways":                    {paced, 2, 3, starts, 0, true, .9 * 30},
		"three gateways":                  {paced, 3, 3, starts, 0, true, .9 * 30},
		"more gateways than it works on":  {paced, 5, 3, starts, 0, true, .9 * 30},
		"ten":                             {paced, 1, 10, starts, 0, true, .9 * 100},
		"eight, and two gateways":         {paced, 2, 8, starts, 0, true, .9 * 80},
		"ten, and three":                  {paced, 3, 10, starts, 0, true, .9 * 100},
		"more than anybody sends":         {paced, 2, 100, starts, 0, true, .9 * 640},
		"pauses take longer than starts":  {paced, 1, 5, work{sandbox.Start: 100 * time.Millisecond, sandbox.Pause: 250 * time.Millisecond}, 0, true, .9 * 28.6},
		"each takes longer by the second": {paced, 1, 1000, starts, .5, true, 7},
		"and two gateways":                {paced, 2, 1000, starts, .5, true, 7},
		"and five":                        {paced, 5, 1000, starts, .5, true, 7},
		"a fixed number, by which the test may fail": {fixed, 1, 3, starts, 0, false, .9 * 30},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, end := context.WithCancel(t.Context())
				defer end()
				k := newKubernetes(ctx, tt.atOnce)
				k.beside = tt.beside
				gates := fleet(ctx, tt.limits, tt.gateways)
				quiet := tenant{"quiet", gates, k, tt.work, 50 * time.Millisecond}
				alone := quiet.p99(ctx, time.Minute)
				stop := flood(ctx, gates, k, tt.work)
				<-time.After(30 * time.Second) // 10 are a burst, and then it is measured twice, and followed
				rates := make(chan float64, 1)
				go func() { rates <- k.rate(3 * time.Minute) }()
				beside := quiet.p99(ctx, 3*time.Minute)
				if within := beside <= 2*alone; within != tt.within {
					t.Errorf("p99 is %s beside a flood and %s alone", beside, alone)
				}
				if rate := <-rates; rate < tt.rate {
					t.Errorf("%.1f a second end, not %.1f", rate, tt.rate)
				}
				stop()
			})
		})
	}
}

// What is measured is not believed for ever: where Kubernetes is slower from now
// on, or was for a while, it gets as much to do as it can, after a minute or two.
func TestPaceFollows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		defer end()
		k := newKubernetes(ctx, 10)
		gates := []*admission.Gate{newPaced()}
		quiet, stop := context.WithCancel(ctx)
		var all sync.WaitGroup
		defer all.Wait()
		defer stop()
		all.Go(func() { tenant{"quiet", gates, k, starts, time.Second}.run(quiet, func(time.Duration) {}) })
		defer flood(ctx, gates, k, starts)()
		for _, tt := range []struct{ slower, rate float64 }{{1, 100}, {5, 20}, {1, 100}} {
			k.slower(tt.slower)
			<-time.After(3 * time.Minute)
			if rate := k.rate(time.Minute); rate < .9*tt.rate {
				t.Errorf("%v times as slow, %.1f a second end, of %.1f that could", tt.slower, rate, tt.rate)
			}
		}
	})
}

// A tenant that has Kubernetes to itself may have as much of it as the bounds allow,
// until another one comes, and again when that was long ago.
func TestATenantAloneIsNotHeldBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		defer end()
		k := newKubernetes(ctx, 3)
		g := newPaced()
		defer flood(ctx, []*admission.Gate{g}, k, starts)()
		<-time.After(time.Minute)
		if n := k.busy(); n != 32 {
			t.Errorf("%d are under way of one tenant alone", n)
		}
		join(t, g, "another").Leave()
		<-time.After(time.Minute)
		if n := k.busy(); n > 8 {
			t.Errorf("%d are under way of one of two tenants", n)
		}
		<-time.After(10 * time.Minute)
		if n := k.busy(); n != 32 {
			t.Errorf("%d are under way of one tenant alone again", n)
		}
	})
}

// probed is a gate at which one goes at a time, to measure.
func probed(t *testing.T) *admission.Gate {
	t.Helper()
	g := newPaced()
	join(t, g, "another").Leave()
	var all sync.WaitGroup
	for range 8 { // as many as go at first, twice: more would like to
		all.Go(func() {
			for range 2 {
				ticket := join(t, g, "a")
				<-ticket.Ready()
				<-time.After(300 * time.Millisecond)
				ticket.Note(admission.Done)
				ticket.Leave()
			}
		})
	}
	all.Wait()
	first, second := join(t, g, "a"), join(t, g, "a")
	if !in(first) || ready(second) {
		t.Fatal("it is not one at a time")
	}
	first.Leave()
	second.Leave()
	return g
}

// A moment in which one goes at a time is over soon, though nothing that goes says how
// long it takes, and though one does not end.
func TestAMeasureEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := probed(t)
		for range 2 { // beside the two before
			join(t, g, "a").Leave()
		}
		first, second := join(t, g, "a"), join(t, g, "a")
		if !in(first) || !in(second) {
			t.Error("one at a time goes after four that told nothing")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		g := probed(t)
		hangs, next := join(t, g, "a"), join(t, g, "a")
		<-time.After(3 * time.Second)
		if !in(hangs) || !in(next) {
			t.Error("one that does not end is waited for")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		g := probed(t)
		var all []*admission.Ticket
		for range 20 {
			all = append(all, join(t, g, "a"))
		}
		<-time.After(3 * time.Second)
		for i, ticket := range all {
			if !in(ticket) {
				t.Fatalf("number %d waits: nobody looked at the queue again", i)
			}
		}
	})
}

// Whatever ends how and when, no bound is passed, no place is lost, and nobody waits
// for ever.
func TestWalkPaced(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 11))
			l := admission.Limits{PerTenant: 1 + rnd.IntN(8), Total: 1 + rnd.IntN(16), Waiting: 40, Paced: true}
			g := admission.New(l)
			var waiting, running []place
			settle := func() {
				still := waiting[:0:0]
				for _, p := range waiting {
					switch {
					case in(p.Ticket):
						running = append(running, p)
					case ready(p.Ticket): // pushed out
						p.Leave()
					default:
						still = append(still, p)
					}
				}
				waiting = still
				if len(running) > l.Total {
					t.Fatalf("seed %d: %d are under way, of %+v", seed, len(running), l)
				}
				for tenant, n := range count(running) {
					if n > l.PerTenant {
						t.Fatalf("seed %d: %d of %s are under way, of %+v", seed, n, tenant, l)
					}
				}
			}
			end := func() {
				i := rnd.IntN(len(running))
				running[i].Note([]admission.End{admission.Elsewhere, admission.Done, admission.Done, admission.Choked}[rnd.IntN(4)])
				running[i].Leave()
				running = append(running[:i], running[i+1:]...)
			}
			for range 2000 {
				switch n := rnd.IntN(10); {
				case n < 5:
					tenant := fmt.Sprint(rnd.IntN(3) * rnd.IntN(2))
					if ticket, err := g.Join(tenant, sandbox.Verbs[rnd.IntN(4)]); err == nil {
						waiting = append(waiting, place{ticket, tenant})
					}
				case n < 9 && len(running) > 0:
					end()
				default:
					<-time.After(time.Duration(rnd.IntN(int(time.Second))))
				}
				settle()
			}
			for len(running)+len(waiting) > 0 {
				if len(running) == 0 {
					<-time.After(600 * time.Millisecond) // floods may rest for almost as long
					settle()
				}
				if len(running) == 0 {
					t.Fatalf("seed %d: nothing is under way, and %d wait", seed, len(waiting))
				}
				end()
				settle()
			}
			if !in(join(t, g, "fresh")) {
				t.Errorf("seed %d: a place is lost", seed)
			}
		})
	}
}

// A flood that is over says nothing of later: a burst after a quiet while goes at
// once.
func TestABurstAfterAQuietWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		defer end()
		k := newKubernetes(ctx, 1)
		g := newPaced()
		stop := flood(ctx, []*admission.Gate{g}, k, starts)
		<-time.After(time.Minute)
		stop()
		<-time.After(2 * time.Minute)
		for i := range 8 {
			if !in(join(t, g, "quiet")) {
				t.Fatalf("number %d waits", i)
			}
		}
	})
}

const turn = 4 * time.Second // what waits longer is refused

// together sends fifty at once, and again until ctx ends, and returns how long one of
// them waited at most for its turn.
func together(ctx context.Context, g *admission.Gate, k *kubernetes, name string) (longest time.Duration) {
	return crowd(ctx, g, k, name, 50)
}

func crowd(ctx context.Context, g *admission.Gate, k *kubernetes, name string, size int) (longest time.Duration) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for range size {
		all.Go(func() {
			for again := true; again; again = ctx.Err() == nil {
				begin, waited := time.Now(), turn
				ticket, err := g.Join(name, sandbox.Start)
				if err != nil {
					panic(err) // there is room for all
				}
				select {
				case <-ticket.Ready():
					waited = time.Since(begin)
					k.do(starts[sandbox.Start])
					ticket.Note(admission.Done)
					ticket.Leave()
				case <-time.After(turn):
					_ = ticket.GiveUp(admission.ReasonLate)
				}
				mu.Lock()
				longest = max(longest, waited)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return longest
}

// A burst goes through though Kubernetes is slow, for whatever reason: what a gateway
// lets wait for too long is refused.
func TestABurstGoesThrough(t *testing.T) {
	t.Parallel()
	const lasts = 40 * time.Second
	for name, before := range map[string]func(context.Context, *admission.Gate, *kubernetes){
		"the first":              func(context.Context, *admission.Gate, *kubernetes) {},
		"beside another's flood": func(ctx context.Context, g *admission.Gate, k *kubernetes) { together(ctx, g, k, "flood") },
		"after its own flood": func(ctx context.Context, g *admission.Gate, k *kubernetes) {
			flood, stop := context.WithTimeout(ctx, lasts/2)
			defer stop()
			together(flood, g, k, "bursts")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, end := context.WithCancel(t.Context())
				defer end()
				k := newKubernetes(ctx, 1000)
				g := newPaced()
				join(t, g, "another").Leave()
				tenant{"quiet", []*admission.Gate{g}, k, starts, tick}.p99(ctx, 5*time.Second)
				k.slower(10)
				other, stop := context.WithTimeout(ctx, lasts)
				defer stop()
				var all sync.WaitGroup
				defer all.Wait()
				all.Go(func() { before(other, g, k) })
				<-time.After(lasts - 2*time.Second)
				once, cancel := context.WithCancel(ctx)
				cancel()
				if longest := together(once, g, k, "bursts"); longest >= turn {
					t.Errorf("one of a burst waited for %s", longest)
				}
			})
		})
	}
}

// Few that each take long are not refused for it, whatever came before.
func TestFewAreNotRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKubernetes(t.Context(), 3)
		g := newPaced()
		join(t, g, "another").Leave()
		flood, stop := context.WithTimeout(t.Context(), 30*time.Second)
		defer stop()
		together(flood, g, k, "a")
		k.slower(50)
		few, end := context.WithTimeout(t.Context(), time.Minute)
		defer end()
		if longest := crowd(few, g, k, "a", 8); longest >= turn {
			t.Errorf("one of few waited for %s", longest)
		}
	})
}

// Who comes to a flood that has gone on for long does not have to wait until it is no
// burst any more.
func TestAFloodIsKnownToWhoComes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		defer end()
		k := newKubernetes(ctx, 3)
		g := newPaced()
		var all sync.WaitGroup
		defer all.Wait()
		flood, stop := context.WithCancel(ctx)
		defer stop()
		all.Go(func() { together(flood, g, k, "flood") })
		<-time.After(time.Minute)
		quiet := tenant{"quiet", []*admission.Gate{g}, k, starts, 50 * time.Millisecond}
		quiet.p99(ctx, 4*time.Second)
		const alone = 120 * time.Millisecond
		if p99 := quiet.p99(ctx, 4*time.Second); p99 > 2*alone {
			t.Errorf("p99 is %s", p99)
		}
	})
}

// places is how many commands a gate lets go, by its metric.
func places(t *testing.T, g *admission.Gate) float64 {
	t.Helper()
	metrics := prometheus.NewRegistry()
	g.Register(metrics)
	all, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if m.GetName() == "sandbar_gateway_commands_places" {
			return m.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatal("no such metric")
	return 0
}

// Where others burst all the time, what holds a flood back is measured in spite of them.
func TestAFloodIsMeasuredBesideBursts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithTimeout(t.Context(), 2*time.Minute)
		defer end()
		k := newKubernetes(t.Context(), 3)
		g := newPaced()
		var all sync.WaitGroup
		all.Go(func() { together(ctx, g, k, "flood") })
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				burst, stop := context.WithTimeout(ctx, 5*time.Second)
				together(burst, g, k, fmt.Sprint(i))
				stop()
			}
		})
		fewest := places(t, g)
		for ctx.Err() == nil {
			<-time.After(100 * time.Millisecond)
			fewest = min(fewest, places(t, g))
		}
		all.Wait()
		if fewest > 1 {
			t.Errorf("%v went at least: nothing was measured", fewest)
		}
	})
}

// Nobody who bursts is made to wait for a measure.
func TestABurstIsNotMeasured(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newPaced()
		join(t, g, "another").Leave()
		var all []*admission.Ticket
		for range 20 {
			all = append(all, join(t, g, "a"))
		}
		<-time.After(600 * time.Millisecond)
		for _, ticket := range all[:8] {
			ticket.Note(admission.Done)
			ticket.Leave()
		}
		next := join(t, g, "a")
		<-time.After(600 * time.Millisecond)
		if !in(next) {
			t.Error("one waits, for a measure")
		}
	})
}

// Who floods is known by it though for a moment nothing of it is here.
func TestAFloodIsNotForgottenAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKubernetes(t.Context(), 3)
		g := newPaced()
		join(t, g, "another").Leave()
		for _, lasts := range []time.Duration{15 * time.Second, 3 * time.Second} {
			ctx, stop := context.WithTimeout(t.Context(), lasts)
			defer stop()
			var all sync.WaitGroup
			all.Go(func() { together(ctx, g, k, "flood") })
			<-time.After(lasts - time.Second)
			if n := k.busy(); n > 8 {
				t.Errorf("%d are under way", n)
			}
			all.Wait()
		}
	})
}

// What a gateway measures beside another one's burst is not believed until the next minute.
func TestAYoungFloodIsMeasuredAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithTimeout(t.Context(), 57*time.Second)
		defer end()
		k := newKubernetes(t.Context(), 3)
		gates := []*admission.Gate{newPaced(), newPaced()}
		var all sync.WaitGroup
		defer all.Wait()
		for _, g := range gates {
			join(t, g, "another").Leave()
			all.Go(func() { together(ctx, g, k, "flood") })
			<-time.After(3 * time.Second)
		}
		<-time.After(20 * time.Second)
		quiet := tenant{"quiet", gates, k, starts, 50 * time.Millisecond}
		const alone = 120 * time.Millisecond
		if p99 := quiet.p99(ctx, 25*time.Second); p99 > 2*alone {
			t.Errorf("p99 is %s", p99)
		}
	})
}
