package command_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/gateway/internal/admission"
	"github.com/sandbar-io/sandbar/services/gateway/internal/command"
)

// places is how many commands a gate lets go.
func places(t *testing.T, from prometheus.Gatherer) float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "sandbar_gateway_commands_places" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatal("there is no such metric")
	return 0
}

// flood sends commands by so many at a time until stop, whatever becomes of them.
func flood(ctx context.Context, s *command.Sender, atOnce int) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for worker := range atOnce {
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				_, _ = s.Do(ctx, start(fmt.Sprint(worker, "-", i)), command.Origin{})
			}
		})
	}
	return func() { cancel(); all.Wait() }
}

// What a provisioner says, and when, decides how many commands go: fewer where
// they are done one after the other, or Kubernetes has no time, and as many as
// before where it was not asked.
func TestHowItEndedDecidesHowManyGo(t *testing.T) {
	t.Parallel()
	const first = 8 // admission's own
	for name, tt := range map[string]struct {
		answer func(*testing.T, sandbox.Command) *contract.Reply
		fewer  bool
	}{
		"they are done":    {func(t *testing.T, c sandbox.Command) *contract.Reply { return accept(t, c, 1) }, true},
		"it has no time":   {func(_ *testing.T, c sandbox.Command) *contract.Reply { return refuse(c, sandbox.CodeUnavailable) }, true},
		"it was not asked": {func(_ *testing.T, c sandbox.Command) *contract.Reply { return refuse(c, sandbox.CodeInvalid) }, false},
		"nothing was to be changed": {func(t *testing.T, c sandbox.Command) *contract.Reply {
			r := accept(t, c, 1)
			r.View.LastCommand = "another"
			return r
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := startServer(t)
			startProvisioner(t, srv.ClientURL(), func(_ int, d delivery) *contract.Reply {
				<-time.After(20 * time.Millisecond) // long against what a busy machine adds
				return tt.answer(t, d.command)
			})
			gate, metrics := admission.New(admission.Limits{Total: 4 * first, Waiting: 99, Paced: true}), prometheus.NewRegistry()
			gate.Register(metrics)
			s, err := command.New(connect(t, srv.ClientURL()), newMemory(), newSealer(t), always, gate, zap.NewNop(), fast)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			another := start("another")
			another.Tenant = "another" // to be fair to
			_, _ = s.Do(t.Context(), another, command.Origin{})
			defer flood(t.Context(), s, 2*first)()
			lasts := time.After(3 * time.Second)
			if tt.fewer {
				lasts = time.After(20 * time.Second)
			}
			for {
				n := places(t, metrics)
				if n != first && n != 1 { // 1: they are measured
					if !tt.fewer || n > first {
						t.Errorf("%v go", n)
					}
					return
				}
				select {
				case <-lasts:
					if tt.fewer {
						t.Errorf("%v go", n)
					}
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
	}
}
