package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sandbar-io/sandbar/tools/devcluster/cluster"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/figure"
)

const (
	floodClients  = 64
	floodGateways = 2
	floodSettles  = 25 * time.Second       // until it is no burst any more, and what a gateway lets through has become what it is going to be
	floodEnds     = 5 * time.Second        // until nothing of it is under way
	floodAgain    = 100 * time.Millisecond // after a refusal
)

var fairness = Benchmark{
	Name: "fairness",
	What: fmt.Sprintf("POST /start on a real API server, one at a time by one tenant, while another starts as many as %d clients can over %d gateways",
		floodClients, floodGateways),
	Limit: "the same without the other tenant",
	Real:  true,
	Run: func(ctx context.Context, e *Env) ([]figure.Case, error) {
		state, err := cluster.Load(e.Cluster)
		if err != nil {
			return nil, err
		}
		key := stack.NewAPIKey()
		keys := filepath.Join(e.Dir, "fairness-keys.yaml")
		text := fmt.Sprintf("keys:\n  - {name: flood, sha256: %s, tenant: flood}\n", stack.HashAPIKey(key))
		if err := os.WriteFile(keys, []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("keys: %w", err)
		}
		var cases []figure.Case
		for _, paced := range []bool{true, false} {
			c, err := flooded(ctx, e, state, key, fmt.Sprintf("fair-%t", paced), "API_KEYS_FILE="+keys, fmt.Sprintf("COMMANDS_PACED=%t", paced))
			if err != nil {
				return cases, err
			}
			c.Name = "COMMANDS_PACED=true"
			c.Bounds = []figure.Bound{{Value: figure.P99, AtMost: 2}}
			if !paced {
				c.Name, c.Bounds = "COMMANDS_PACED=false, to compare", []figure.Bound{{Value: figure.P99}}
			}
			cases = append(cases, c)
		}
		return cases, nil
	},
}

func flooded(ctx context.Context, e *Env, state *cluster.State, key, name string, settings ...string) (figure.Case, error) {
	b, err := e.StartOn(ctx, name, state, stack.Options{
		SystemNamespace: "bench-system", SandboxNamespace: "bench-sandboxes", Gateways: floodGateways, Settings: settings,
	})
	if err != nil {
		return figure.Case{}, err
	}
	defer func() { _ = b.Close() }() // the lab says what does not end
	var n, sent, made atomic.Int64
	one := loop(1, e, func(ctx context.Context) error {
		i := n.Add(1)
		_, err := b.Start(ctx, int(i)%floodGateways, fmt.Sprintf("%s-%d", name, i))
		return err
	})
	alone := func(ctx context.Context) (figure.Sample, error) {
		pause(ctx, floodEnds)
		return one(ctx)
	}
	beside := func(ctx context.Context) (figure.Sample, error) {
		flood, stop := context.WithCancel(ctx)
		var all sync.WaitGroup
		defer all.Wait()
		defer stop()
		for client := range floodClients {
			all.Go(func() {
				for flood.Err() == nil {
					if _, err := b.StartAs(flood, key, client%floodGateways, fmt.Sprintf("%s-flood-%d", name, sent.Add(1))); err != nil {
						pause(flood, floodAgain)
						continue
					}
					made.Add(1)
				}
			})
		}
		pause(ctx, floodSettles)
		before, begin := made.Load(), time.Now()
		s, err := one(ctx)
		if err == nil {
			s.Values[floodRate] = float64(made.Load()-before) / time.Since(begin).Seconds()
		}
		return s, err
	}
	rounds, err := figure.Alternate(ctx, e.Rounds, beside, alone)
	var rates []float64
	for _, r := range rounds {
		rates = append(rates, r.Ours.Values[floodRate])
	}
	return figure.Case{Rounds: rounds, Note: fmt.Sprintf("the flood was given %.1f/s", figure.Median(rates))}, err
}

// floodRate is what the other tenant was given, a second.
const floodRate = "flood"

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
