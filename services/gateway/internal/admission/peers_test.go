package admission_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/gateway/internal/admission"
)

const (
	known    = 30 * time.Second // until a flood is one, and there are as many places as there are going to be
	oneByOne = 1                // Kubernetes works on one command at a time
)

// inFleet has a test in synthetic time, where Kubernetes works on so many commands at once and
// so many gateways hear of each other.
func inFleet(t *testing.T, atOnce float64, size int, test func(*testing.T, context.Context, *kubernetes, []*admission.Gate)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		defer end()
		test(t, ctx, newKubernetes(ctx, atOnce), fleet(ctx, paced, size))
	})
}

// Where Kubernetes works on one command at a time, one of the floods of all gateways goes,
// each gateway's in its turn, and now and then a second one to see whether there is room.
func TestGatewaysTakeTurns(t *testing.T) {
	t.Parallel()
	inFleet(t, oneByOne, 3, func(t *testing.T, ctx context.Context, k *kubernetes, gates []*admission.Gate) {
		join(t, gates[0], "another").Leave()
		done := make([]int, len(gates))
		var mu sync.Mutex
		var all sync.WaitGroup
		defer all.Wait()
		floods, stop := context.WithCancel(ctx)
		defer stop()
		for i, g := range gates {
			for range 40 {
				all.Go(func() {
					tenant{"flood", []*admission.Gate{g}, k, starts, 0}.run(floods, func(time.Duration) {
						mu.Lock()
						defer mu.Unlock()
						done[i]++
					})
				})
			}
		}
		<-time.After(known)
		mu.Lock()
		clear(done)
		mu.Unlock()
		const looks = 20_000
		most, more := 0, 0
		for range looks {
			<-time.After(tick)
			if n := k.busy(); n > oneByOne {
				most, more = max(most, n), more+1
			}
		}
		if most > 2 || more > looks*4/10 {
			t.Errorf("in %d of %d looks several were under way, %d at most", more, looks, most)
		}
		mu.Lock()
		defer mu.Unlock()
		if least, most := slices.Min(done), slices.Max(done); least < 20 || most > least+least/4 {
			t.Errorf("the gateways had %d done", done)
		}
	})
}

// A tenant that another gateway has is one to be fair to.
func TestATenantOfAnotherGateway(t *testing.T) {
	t.Parallel()
	inFleet(t, 3, 2, func(t *testing.T, ctx context.Context, k *kubernetes, gates []*admission.Gate) {
		quiet := tenant{"quiet", gates[1:], k, starts, 50 * time.Millisecond}
		alone := quiet.p99(ctx, time.Minute)
		defer flood(ctx, gates[:1], k, starts)()
		<-time.After(known)
		if beside := quiet.p99(ctx, time.Minute); beside > 2*alone {
			t.Errorf("p99 is %s beside another gateway's flood and %s alone", beside, alone)
		}
	})
}

// How many places there are one gateway finds out, and all have so many.
func TestOneFindsOutForAll(t *testing.T) {
	t.Parallel()
	inFleet(t, 3, 4, func(t *testing.T, ctx context.Context, k *kubernetes, gates []*admission.Gate) {
		join(t, gates[0], "another").Leave()
		defer flood(ctx, gates, k, starts)()
		<-time.After(known)
		const looks = 600
		differ := 0
		for range looks {
			<-time.After(100 * time.Millisecond)
			all := make([]float64, len(gates))
			for i, g := range gates {
				all[i] = places(t, g)
			}
			slices.Sort(all)
			if all[0] != all[len(all)-1] {
				differ++
			}
		}
		if differ > looks/10 { // while one measures, and until it is told
			t.Errorf("in %d of %d looks they had not the same", differ, looks)
		}
	})
}

var everything = contract.Pace{Gateway: "!", Tenant: "flood", Waits: true, Went: 7, Runs: 99, Probes: true, Places: 1}

// lies tells something else every tenth of a second.
func lies(how func(int, *contract.Pace)) func(context.Context, *admission.Gate) {
	return func(ctx context.Context, g *admission.Gate) {
		for i := 0; ctx.Err() == nil; i++ {
			told := everything
			how(i, &told)
			g.Hear(told)
			<-time.After(100 * time.Millisecond)
		}
	}
}

// Whatever a gateway tells, and then does not do, the floods of others go on.
func TestNoGatewayHoldsTheOthers(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		rate float64 // at least: one in four seconds
		tell func(context.Context, *admission.Gate)
	}{
		"one of its always goes": {.2, lies(func(i int, p *contract.Pace) { p.Runs += i % 2 })},
		"one ends and ends":      {.2, lies(func(i int, p *contract.Pace) { p.Probes, p.Waits, p.Runs, p.Places = false, false, i%2, .25 })},
		"it goes and another waits": {.2, lies(func(i int, p *contract.Pace) {
			p.Probes, p.Runs = false, 0
			if p.Waits = i%2 == 0; p.Waits {
				p.Gateway += "!"
			} else {
				p.Went += uint64(i)
			}
		})},
		"it always measures": {.2, lies(func(i int, p *contract.Pace) { p.Gateway, p.Runs, p.Waits = fmt.Sprint("!", i/10), 0, false })},
		"it is gone":         {3, func(_ context.Context, g *admission.Gate) { g.Hear(everything) }},
		"it says the same for ever": {.4, func(ctx context.Context, g *admission.Gate) {
			for ctx.Err() == nil {
				g.Hear(everything)
				<-time.After(200 * time.Millisecond)
			}
		}},
		"it has many names": {3, func(_ context.Context, g *admission.Gate) {
			for i := range 5000 {
				told := everything
				told.Gateway = fmt.Sprint("!", i)
				g.Hear(told)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inFleet(t, oneByOne, 1, func(t *testing.T, ctx context.Context, k *kubernetes, gates []*admission.Gate) {
				join(t, gates[0], "another").Leave()
				defer flood(ctx, gates, k, starts)()
				<-time.After(known)
				if rate := k.rate(5 * time.Second); rate < 3 {
					t.Fatalf("%.1f a second before", rate)
				}
				var all sync.WaitGroup
				defer all.Wait()
				lying, stop := context.WithCancel(ctx)
				defer stop()
				all.Go(func() { tt.tell(lying, gates[0]) })
				<-time.After(3 * time.Second)
				if rate := k.rate(20 * time.Second); rate < tt.rate {
					t.Errorf("%.1f a second end", rate)
				}
			})
		})
	}
}

// A command that does not end keeps its own gateway's and the others' for a while only.
func TestOneThatHangsHoldsNobody(t *testing.T) {
	t.Parallel()
	inFleet(t, oneByOne, 2, func(t *testing.T, ctx context.Context, k *kubernetes, gates []*admission.Gate) {
		join(t, gates[0], "another").Leave()
		defer flood(ctx, gates, k, starts)()
		<-time.After(known)
		hangs := join(t, gates[0], "flood")
		defer hangs.Leave()
		<-hangs.Ready()
		<-time.After(3 * time.Second)
		if rate := k.rate(5 * time.Second); rate < 2 { // held by it one in two seconds would be
			t.Errorf("%.1f a second end", rate)
		}
	})
}

// The gateway that finds out how many places there are goes on to, though nobody but floods
// is there, and the others have measured something once.
func TestTheFirstGoesOn(t *testing.T) {
	t.Parallel()
	inFleet(t, oneByOne, 2, func(t *testing.T, ctx context.Context, k *kubernetes, gates []*admission.Gate) {
		for _, g := range gates {
			alone := tenant{"another", []*admission.Gate{g}, k, starts, 50 * time.Millisecond}
			alone.p99(ctx, 20*time.Second)
		}
		defer flood(ctx, gates, k, starts)()
		<-time.After(2 * time.Minute)
		k.wider(10)
		<-time.After(3 * time.Minute)
		if rate := k.rate(time.Minute); rate < 80 {
			t.Errorf("%.1f a second end, of 100 that could", rate)
		}
	})
}

// Who waits for other gateways' commands is told that it floods.
func TestAFloodIsToldThatItIsOne(t *testing.T) {
	t.Parallel()
	inFleet(t, oneByOne, 1, func(t *testing.T, ctx context.Context, k *kubernetes, gates []*admission.Gate) {
		join(t, gates[0], "another").Leave()
		stop := flood(ctx, gates, k, starts)
		<-time.After(known)
		stop()
		gates[0].Hear(everything)
		late, another := join(t, gates[0], "flood"), join(t, gates[0], "flood")
		defer another.Leave()
		if in(late) {
			t.Fatal("it goes")
		}
		if err := late.GiveUp(admission.ReasonLate); sandbox.CodeOf(err) != sandbox.CodeRateLimited {
			t.Errorf("it is told %v", err)
		}
	})
}

// Who flooded and sends one at a time is nobody who floods, though another still does.
func TestAFloodEndsBesideAnothers(t *testing.T) {
	t.Parallel()
	inFleet(t, 1000, 2, func(t *testing.T, ctx context.Context, k *kubernetes, gates []*admission.Gate) {
		k.beside = .5
		calm := tenant{"bursts", gates, k, starts, 50 * time.Millisecond}
		alone := calm.p99(ctx, time.Minute)
		defer flood(ctx, gates, k, starts)()
		once, cancel := context.WithTimeout(ctx, known)
		defer cancel()
		together(once, gates[0], k, "bursts")
		calm.p99(ctx, 20*time.Second)
		if beside := calm.p99(ctx, time.Minute); beside > 2*alone {
			t.Errorf("p99 is %s beside a flood, after its own, and %s alone", beside, alone)
		}
	})
}
