//go:build system

package system_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/faultproxy"
	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// TestTheProvisionersAreCutOff: those that work lose NATS, and nobody else does. The
// gateways notice, refuse what changes at once, go on to answer who reads, and accept
// again when the network is whole. What was refused was not done, also later.
func TestTheProvisionersAreCutOff(t *testing.T) {
	t.Parallel()
	port, err := stack.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	network, err := faultproxy.Listen(fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = network.Close() })
	r := newRig(t, "workless", stack.Options{
		Gateways: 2, NATSPort: port, Settings: []string{noPurge},
		Own: map[string][]string{"provisioner-0": {"NATS_URL=nats://" + network.Address()}},
	})
	live := map[string]string{"runs": r.running(t, "runs").Status, "sleeps": r.paused(t, "sleeps").Status}
	for _, c := range []struct {
		name string
		mode faultproxy.Mode
	}{{"closed", faultproxy.Cut}, {"silent", faultproxy.HalfOpen}, {"deaf", faultproxy.Deaf}} {
		r.waitDrained(t, r.bus(t, "provisioner"))
		readers := r.ask(t, live)
		network.Set(c.mode)
		began := time.Now()
		attempts := r.attempt(t, c.name)
		noticed := attempts.waitRefusedAtOnce(t).Sub(began)
		t.Logf("%s: changes were refused at once after %s", c.name, noticed.Round(10*time.Millisecond))
		const within = 7 * time.Second // 3 s at most by the pings, and two cores that others use too
		if noticed > within {
			t.Errorf("%s: changes were refused at once after %s", c.name, noticed)
		}
		attempts.stop()
		network.Set(faultproxy.Pass)
		waitFor(t, "starts are accepted again", func(ctx context.Context) (string, bool) {
			_, err := r.api(1).Start(ctx, body(t, c.name+"-afterwards"))
			return fmt.Sprint(err), err == nil
		})
		attempts.leftNothing(t)
		if answers, unavailable := readers.end(t); unavailable > 0 {
			t.Errorf("%s: %d of %d reads were 503", c.name, unavailable, answers)
		}
	}
}

// attempts start one sandbox after the other, whatever becomes of those before.
type attempts struct {
	rig    *rig
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu      sync.Mutex
	atOnce  time.Time // when the first was asked that was refused at once
	refused []string  // sessions
	wrong   []error   // neither yes, nor no, nor unknown
}

func (r *rig) attempt(t *testing.T, name string) *attempts {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := &attempts{rig: r, cancel: cancel}
	p.all.Go(func() {
		tick := time.NewTicker(300 * time.Millisecond) // in the 8 s of each fewer than a tenant may have under way
		defer tick.Stop()
		for n := 0; ctx.Err() == nil; n++ {
			session := fmt.Sprintf("%s-%d", name, n)
			p.all.Go(func() { p.start(context.WithoutCancel(ctx), t, session, n%2) })
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	t.Cleanup(p.stop)
	return p
}

// stop returns when all were answered.
func (p *attempts) stop() {
	p.cancel()
	p.all.Wait()
}

func (p *attempts) start(ctx context.Context, t *testing.T, session string, gateway int) {
	began := time.Now()
	_, err := p.rig.api(gateway).Start(ctx, body(t, session))
	p.mu.Lock()
	defer p.mu.Unlock()
	switch status := client.StatusOf(err); {
	case status == http.StatusServiceUnavailable:
	case err == nil, status == http.StatusGatewayTimeout:
		return
	default:
		p.wrong = append(p.wrong, fmt.Errorf("%s: %w", session, err))
		return
	}
	p.refused = append(p.refused, session)
	if time.Since(began) < 2*time.Second && (p.atOnce.IsZero() || began.Before(p.atOnce)) {
		p.atOnce = began
	}
}

func (p *attempts) waitRefusedAtOnce(t *testing.T) (at time.Time) {
	t.Helper()
	waitFor(t, "changes are refused at once", func(context.Context) (string, bool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		at = p.atOnce
		return fmt.Sprintf("%d were refused", len(p.refused)), !at.IsZero()
	})
	return at
}

// leftNothing: of what was refused there is nothing, once all that is stored was worked
// on.
func (p *attempts) leftNothing(t *testing.T) {
	t.Helper()
	p.rig.waitDrained(t, p.rig.bus(t, "provisioner"))
	for _, err := range p.wrong {
		t.Error(err)
	}
	for _, session := range p.refused {
		if rt, err := known(t, p.rig.api(0), session); client.StatusOf(err) != http.StatusNotFound {
			t.Errorf("%s was refused, and is %+v, %v", session, rt, err)
		}
	}
}
