package robustness

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sandbar-io/sandbar/tools/robustness/internal/history"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/plan"
)

// gateway is one gateway, as clients know it.
type gateway struct {
	name, url string
	// life counts its processes. A process that drains has a number of its own.
	life atomic.Int64
}

func (g *gateway) process() string { return fmt.Sprintf("%s/%d", g.name, g.life.Load()) }

func sessionName(i int) string { return fmt.Sprintf("session-%d", i) }

// sessions are the runtime ids that any client has heard of last.
type sessions struct {
	mu  sync.Mutex
	ids map[string]string // tenant/session → runtime id
}

func newSessions() *sessions { return &sessions{ids: map[string]string{}} }

func (s *sessions) id(tenant int, session string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids[tenantName(tenant)+"/"+session]
}

func (s *sessions) started(tenant int, session, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids[tenantName(tenant)+"/"+session] = id
}

// restsFor is how long nobody touches a session that was stopped: until it is forgotten,
// and some more, for the watcher to see that it is due and a provisioner to do it.
const restsFor = purgeAfter + 20*time.Second

// change is one client that changes its own sessions until ctx ends. A request
// that has begun is waited for.
//
// Half of its sessions rest after a stop: all would be started again long before they
// are forgotten else.
func (w *world) change(ctx context.Context, n int) {
	client := plan.Changer(w.Seed, n, perClient)
	tenant, first := n%tenants, n/tenants*perClient
	rests := map[int]time.Time{} // until when, by the session's number
	for {
		step := client.Next()
		if wait(ctx, step.Think); ctx.Err() != nil {
			return
		}
		maps.DeleteFunc(rests, func(_ int, until time.Time) bool { return !time.Now().Before(until) })
		number := step.Session
		for !rests[number].IsZero() {
			number = (number + 1) % perClient
		}
		session := sessionName(first + number)
		id := w.sessions.id(tenant, session)
		if step.Verb != history.Start && id == "" {
			step.Verb = history.Start // nothing to pause yet
		}
		var all sync.WaitGroup
		var stopped atomic.Bool
		for i := range step.Times {
			all.Go(func() {
				r := request{
					client: fmt.Sprintf("changer-%d", n), gateway: w.gateways[(step.Gateway+i)%len(w.gateways)],
					tenant: tenant, verb: step.Verb, session: session, id: id,
				}
				if w.ask(context.WithoutCancel(ctx), r).Outcome != history.OK {
					return
				}
				stopped.Store(step.Verb == history.Stop)
				// The gateway that answered is asked at once, and another one.
				r.verb = history.Session
				for _, at := range []int{step.Gateway + i, step.Gateway + i + 1} {
					next := r
					next.gateway = w.gateways[at%len(w.gateways)]
					all.Go(func() { w.ask(context.WithoutCancel(ctx), next) })
				}
			})
		}
		all.Wait()
		if stopped.Load() && len(rests) < perClient/2 {
			rests[number] = time.Now().Add(restsFor)
		}
	}
}

// read is one client that reads all sessions of one tenant until ctx ends.
func (w *world) read(ctx context.Context, n int) {
	client := plan.Reader(w.Seed, n, perTenant)
	tenant := n % tenants
	for {
		step := client.Next()
		if wait(ctx, step.Think); ctx.Err() != nil {
			return
		}
		session := sessionName(step.Session)
		id := w.sessions.id(tenant, session)
		if step.Verb == history.Runtime && id == "" {
			step.Verb = history.Session
		}
		w.ask(context.WithoutCancel(ctx), request{
			client: fmt.Sprintf("reader-%d", n), gateway: w.gateways[step.Gateway%len(w.gateways)],
			tenant: tenant, verb: step.Verb, session: session, id: id,
		})
	}
}
