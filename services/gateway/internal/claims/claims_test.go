package claims_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/natsx/natstest"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/gateway/internal/claims"
)

// connect returns a connection to a server of the test's own.
func connect(t *testing.T) *natsx.Conn {
	t.Helper()
	srv := natstest.Start(t, server.Options{})
	c, err := natsx.Connect("test", natsx.Config{URL: srv.ClientURL(), Replicas: 1}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// run runs a writer until the test ends.
func run(t *testing.T, w *claims.Writer) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
}

func view(session string, generation int64) *sandbox.View {
	return &sandbox.View{
		Tenant: "acme", Record: sandbox.RecordName("acme", session), RuntimeID: "abcdefghijklmnop", Generation: generation,
	}
}

// written follows the claims that are written, in order.
func written(t *testing.T, c *natsx.Conn) <-chan contract.Claim {
	t.Helper()
	cons, err := c.JS.OrderedConsumer(t.Context(), contract.ActivityStream, jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	out := make(chan contract.Claim, 100)
	cc, err := cons.Consume(func(m jetstream.Msg) {
		var got contract.Claim
		if err := json.Unmarshal(m.Data(), &got); err != nil {
			t.Error(err)
		}
		if want := contract.ClaimSubject("acme", sandbox.RecordName("acme", fmt.Sprint("s", got.Generation/10))); m.Subject() != want {
			t.Errorf("%s, want %s", m.Subject(), want)
		}
		out <- got
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cc.Stop)
	return out
}

func TestEachClaimIsWrittenOnce(t *testing.T) {
	t.Parallel()
	c := connect(t)
	if err := c.EnsureViews(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := written(t, c)
	w := claims.New(c.JS, zap.NewNop())
	run(t, w)
	for range 1000 {
		w.Claim(view("s1", 10))
	}
	// A write that fails is made again by the next request, as ever.
	next := func(v *sandbox.View) contract.Claim {
		t.Helper()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.After(30 * time.Second); ; {
			select {
			case one := <-got:
				return one
			case <-tick.C:
				w.Claim(v)
			case <-deadline:
				t.Fatalf("the claim of generation %d is not written", v.Generation)
			}
		}
	}
	if one := next(view("s1", 10)); one.Generation != 10 || one.RuntimeID != "abcdefghijklmnop" {
		t.Errorf("%+v, want generation 10", one)
	}
	w.Claim(view("s1", 11)) // resumed
	w.Claim(view("s1", 10)) // an old view
	if one := next(view("s1", 11)); one.Generation != 11 {
		t.Errorf("%+v, want generation 11", one)
	}
	w.Claim(view("s9", 99)) // whatever was queued before is out by now
	if one := next(view("s9", 99)); one.Generation != 99 {
		t.Errorf("written more than once: %+v", one)
	}
}

// A claim that could not be written is made again by the next request.
func TestAClaimThatFailedIsMadeAgain(t *testing.T) {
	t.Parallel()
	c := connect(t)
	w := claims.New(c.JS, zap.NewNop())
	run(t, w)
	w.Claim(view("s1", 10)) // there is no stream yet
	if err := c.EnsureViews(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := written(t, c)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(20 * time.Second); ; {
		w.Claim(view("s1", 10))
		select {
		case <-got:
			return
		case <-tick.C:
		case <-deadline:
			t.Fatal("never written")
		}
	}
}

// Nobody writes: asking does not wait for it.
func TestClaimNeverWaits(t *testing.T) {
	t.Parallel()
	w := claims.New(connect(t).JS, zap.NewNop())
	for i := range 10_000 {
		w.Claim(&sandbox.View{Tenant: "acme", Record: sandbox.RecordName("acme", "s"), RuntimeID: fmt.Sprint(i), Generation: 1})
	}
}
