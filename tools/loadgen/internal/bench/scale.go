package bench

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sandbar-io/sandbar/tools/devstack/stack"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/bed"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/figure"
)

const (
	callTime = 30 * time.Millisecond
	// scaleWorkers is 1, so that not the machine's cores but the API server's time is what
	// a provisioner waits for, though eight of them share two.
	scaleWorkers = 1
)

var scaleSteps = []int{1, 2, 4, 8}

var scale = Benchmark{
	Name:  "scale",
	What:  fmt.Sprintf("starts a second with %v provisioners of %d worker, an API server that takes %s a call", scaleSteps, scaleWorkers, callTime),
	Limit: "as many times what one provisioner makes in the same round",
	Run: func(ctx context.Context, e *Env) ([]figure.Case, error) {
		most := scaleSteps[len(scaleSteps)-1]
		b, err := e.Start(ctx, "scale", stack.Options{Provisioners: most, Settings: []string{
			// One tenant is to fill all workers: no turns at the gateway.
			fmt.Sprintf("WORKERS=%d", scaleWorkers), "COMMANDS_PER_TENANT=0", "COMMANDS_IN_FLIGHT=0",
		}})
		if err != nil {
			return nil, err
		}
		defer func() { _ = b.Close() }()
		b.Stub.Delay(callTime)
		cases := make([]figure.Case, 0, len(scaleSteps)-1)
		for _, n := range scaleSteps[1:] {
			cases = append(cases, figure.Case{
				Name: fmt.Sprintf("%d provisioners", n), Bounds: []figure.Bound{{Value: figure.Rate, AtLeast: 0.9}},
			})
		}
		var started atomic.Int64
		for range e.Rounds {
			one := 0.0
			for i, n := range scaleSteps {
				if err := provisioners(ctx, b, n); err != nil {
					return nil, err
				}
				s, err := starts(ctx, b, &started, n, e.Duration)
				if err != nil {
					return nil, err
				}
				if i == 0 {
					one = s.Values[figure.Rate]
					continue
				}
				line := figure.Sample{Values: map[string]float64{figure.Rate: one * float64(n)}}
				cases[i-1].Rounds = append(cases[i-1].Rounds, figure.Round{Ours: s, Limit: line})
			}
		}
		return cases, nil
	},
}

// provisioners ends or starts some, so that n run.
func provisioners(ctx context.Context, b *bed.Bed, n int) error {
	for i, svc := range b.Stack.Of("provisioner") {
		switch running := b.Stack.Running(svc.Name); {
		case running && i >= n:
			if err := b.End(svc.Name); err != nil {
				return err
			}
		case !running && i < n:
			if err := b.Stack.StartService(svc.Name); err != nil {
				return err
			}
			if err := b.Stack.WaitService(ctx, svc.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// starts measures how many starts n provisioners make in a second, when each of
// their workers finds the next command waiting.
func starts(ctx context.Context, b *bed.Bed, count *atomic.Int64, n int, d time.Duration) (figure.Sample, error) {
	return closed(2*n*scaleWorkers, d, func(ctx context.Context, _ int) error {
		_, err := b.Start(ctx, 0, fmt.Sprintf("scale-%d", count.Add(1)))
		return err
	})(ctx)
}
