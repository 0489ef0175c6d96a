package admission_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/gateway/internal/admission"
)

const (
	service = 100 * time.Millisecond // how long each command is under way
	lasts   = 10 * time.Second       // a test
)

// client sends one command after the other until ctx ends, and notes how long
// each waited for its turn. What is refused is tried again later.
func client(ctx context.Context, g *admission.Gate, tenant string, waited func(time.Duration)) {
	for ctx.Err() == nil {
		begin := time.Now()
		ticket, err := g.Join(tenant, sandbox.Start)
		if err != nil {
			<-time.After(service / 3)
			continue
		}
		<-ticket.Ready()
		if ticket.Err() == nil && ctx.Err() == nil {
			waited(time.Since(begin))
			<-time.After(service)
		}
		ticket.Leave()
	}
}

// One tenant floods, another sends one at a time: it waits for at most one
// command's time for its turn, and not at all while the flood may not take all
// places.
func TestFlood(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		limits admission.Limits
		most   time.Duration
	}{
		"a tenant may take half":      {admission.Limits{PerTenant: 8, Total: 16, Waiting: 64}, 0},
		"a tenant may take all":       {admission.Limits{PerTenant: 16, Total: 16, Waiting: 64}, service},
		"and the queue is full of it": {admission.Limits{PerTenant: 16, Total: 16, Waiting: 4}, service},
		"one place":                   {admission.Limits{PerTenant: 1, Total: 1, Waiting: 64}, service},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := admission.New(tt.limits)
				ctx, cancel := context.WithTimeout(t.Context(), lasts)
				defer cancel()
				var all sync.WaitGroup
				for range 200 {
					all.Go(func() { client(ctx, g, "flood", func(time.Duration) {}) })
				}
				synctest.Wait()
				n, longest := 0, time.Duration(0)
				all.Go(func() {
					client(ctx, g, "quiet", func(d time.Duration) { n, longest = n+1, max(longest, d) })
				})
				all.Wait()
				if longest > tt.most {
					t.Errorf("it waited %s, want at most %s", longest, tt.most)
				}
				if least := int(lasts/(service+tt.most)) - 1; n < least {
					t.Errorf("%d of its commands were done, want %d", n, least)
				}
			})
		})
	}
}

// Tenants that flood with unlike force get the same.
func TestShares(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const tenants, each, total = 10, 4, 8
		g := admission.New(admission.Limits{PerTenant: each, Total: total, Waiting: 400})
		ctx, cancel := context.WithTimeout(t.Context(), lasts)
		defer cancel()
		var mu sync.Mutex
		done := map[string]int{}
		var all sync.WaitGroup
		for i := range tenants {
			for range each + 3*i {
				tenant := fmt.Sprint(i)
				all.Go(func() {
					client(ctx, g, tenant, func(time.Duration) { mu.Lock(); done[tenant]++; mu.Unlock() })
				})
			}
		}
		all.Wait()
		share := int(lasts/service) * total / tenants
		for tenant, n := range done {
			if n < share-each-1 || n > share+each+1 { // the first to come find all places free
				t.Errorf("tenant %s had %d done, its share is %d", tenant, n, share)
			}
		}
	})
}
