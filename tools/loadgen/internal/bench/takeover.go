package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
	"github.com/sandbar-io/sandbar/tools/internal/stubapi"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/bed"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/figure"
)

var takeover = Benchmark{
	Name:  "takeover",
	What:  "from the death of a provisioner that works on a start until another has answered it",
	Limit: "AckWait",
	Run: func(ctx context.Context, e *Env) ([]figure.Case, error) {
		b, err := e.Start(ctx, "takeover", stack.Options{Provisioners: 2})
		if err != nil {
			return nil, err
		}
		defer func() { _ = b.Close() }()
		c := figure.Case{Name: "killed", Bounds: []figure.Bound{{Value: figure.Time, AtMost: 1.5}}}
		if err := b.End("provisioner-1"); err != nil {
			return nil, err
		}
		names := [2]string{"provisioner-0", "provisioner-1"}
		for i := range e.Rounds {
			took, err := takeOver(ctx, b, names[i%2], names[(i+1)%2], fmt.Sprintf("takeover-%d", i))
			if err != nil {
				return nil, err
			}
			c.Rounds = append(c.Rounds, figure.Round{Ours: figure.Took(took), Limit: figure.Took(natsx.AckWait)})
		}
		return []figure.Case{c}, nil
	},
}

// takeOver kills a provisioner in the middle of a start, when another runs.
func takeOver(ctx context.Context, b *bed.Bed, first, second, session string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	inside, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	b.Stub.Before(func(ctx context.Context, c stubapi.Call) {
		if c.Verb != "create" || c.Resource != "pods" {
			return
		}
		once.Do(func() { close(inside) })
		select {
		case <-release:
		case <-ctx.Done():
		}
	})
	defer b.Stub.Before(nil)
	answered := make(chan error, 1)
	go func() {
		_, err := b.Start(ctx, 0, session)
		answered <- err
	}()
	select {
	case <-inside:
	case err := <-answered:
		return 0, fmt.Errorf("the start was answered before its pod was made: %w", err)
	}
	if err := b.Stack.StartService(second); err != nil {
		return 0, err
	}
	if err := b.Stack.WaitService(ctx, second); err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := b.Stack.Kill(first); err != nil {
		return 0, err
	}
	close(release)
	if err := <-answered; err != nil {
		return 0, err
	}
	return time.Since(begin), nil
}

// The defaults of the watcher's lease.
const (
	leaseDuration = 15 * time.Second
	leaseRetry    = 2 * time.Second
)

var failover = Benchmark{
	Name:  "failover",
	What:  "from the end of the leading watcher until a change of a pod is shown again",
	Limit: "the lease's retry period where it was released, its duration where it was not",
	Run: func(ctx context.Context, e *Env) ([]figure.Case, error) {
		b, err := e.Start(ctx, "failover", stack.Options{Watchers: 2})
		if err != nil {
			return nil, err
		}
		defer func() { _ = b.Close() }()
		if err := b.Seed(ctx, 1, "127.0.0.1"); err != nil {
			return nil, err
		}
		cases := []figure.Case{
			{Name: "released", Bounds: []figure.Bound{{Value: figure.Time, AtMost: 1.5}}},
			{Name: "killed", Bounds: []figure.Bound{{Value: figure.Time, AtMost: 1.5}}},
		}
		ready := true
		for range e.Rounds {
			for i, limit := range []time.Duration{leaseRetry, leaseDuration} {
				ready = !ready
				took, err := failOver(ctx, b, []unix.Signal{unix.SIGTERM, unix.SIGKILL}[i], ready)
				if err != nil {
					return nil, err
				}
				cases[i].Rounds = append(cases[i].Rounds, figure.Round{Ours: figure.Took(took), Limit: figure.Took(limit)})
			}
		}
		return cases, nil
	},
}

func failOver(ctx context.Context, b *bed.Bed, sig unix.Signal, ready bool) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	name, err := leader(ctx, b)
	if err != nil {
		return 0, err
	}
	all, err := b.List(ctx, b.Gateway(0))
	if err != nil {
		return 0, err
	}
	if len(all) != 1 {
		return 0, fmt.Errorf("%d sandboxes are shown, not one", len(all))
	}
	begin := time.Now()
	if err := b.Stack.Signal(name, sig); err != nil {
		return 0, err
	}
	// A leader that ends gently may still write what it has been told; what changes
	// after it is gone is its successor's.
	if err := gone(ctx, b, name); err != nil {
		return 0, err
	}
	if err := b.Ready(all[0].RuntimeID, ready, "127.0.0.1"); err != nil {
		return 0, err
	}
	want := map[bool]string{true: "ready", false: "running"}[ready]
	err = bed.Until(ctx, func() error {
		now, err := b.List(ctx, b.Gateway(0))
		if err != nil {
			return err
		}
		if len(now) != 1 || now[0].PodStatus != want {
			return fmt.Errorf("%d are shown, not one that is %s", len(now), want)
		}
		return nil
	})
	took := time.Since(begin)
	if err == nil {
		err = b.Stack.StartService(name)
	}
	if err == nil {
		err = b.Stack.WaitService(ctx, name)
	}
	return took, err
}

func gone(ctx context.Context, b *bed.Bed, name string) error {
	return bed.Until(ctx, func() error {
		if b.Stack.Running(name) {
			return fmt.Errorf("%s still runs", name)
		}
		return nil
	})
}

// leader is the watcher that leads.
func leader(ctx context.Context, b *bed.Bed) (name string, err error) {
	err = bed.Until(ctx, func() error {
		for _, w := range b.Stack.Of("watcher") {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.Health+"/readiness", nil)
			if err != nil {
				return err
			}
			raw, err := bed.Answer(b.HTTP, req)
			if err != nil {
				return err
			}
			var said map[string]any
			if err := json.Unmarshal(raw, &said); err != nil {
				return err
			}
			if said["role"] == "leader" {
				name = w.Name
				return nil
			}
		}
		return errors.New("no watcher leads")
	})
	return name, err
}
