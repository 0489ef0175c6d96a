package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/gateway"
)

const (
	fairWorkers = 4
	fairTakes   = 250 * time.Millisecond // long against what HTTP, bus and a busy machine add
	fairSamples = 24
)

// fair is two gateways over workers that take a fixed time for each command.
func fair(t *testing.T, perTenant int) []*client {
	f := startFleet(t)
	f.workers, f.takes = fairWorkers, fairTakes
	f.serve()
	out := make([]*client, 2)
	for i := range out {
		out[i] = gatewayWith(t, gateway.Config{
			NATS: natsx.Config{URL: f.nats.ClientURL(), Replicas: 1}, PerTenant: perTenant, InFlight: 2 * perTenant, Waiting: 32,
		}).ready()
	}
	return out
}

// latencies starts sandboxes one after the other, at the gateways in turn.
func latencies(gateways []*client, name string) []time.Duration {
	out := make([]time.Duration, fairSamples)
	for i := range out {
		begin := time.Now()
		gateways[i%len(gateways)].want(http.StatusOK, "key-plain", "POST", "/start", startBody(fmt.Sprint(name, i)))
		out[i] = time.Since(begin)
	}
	slices.Sort(out)
	return out
}

// p99 of so few is the longest.
func p99(sorted []time.Duration) time.Duration { return sorted[len(sorted)*99/100] }

// flood starts sandboxes by many clients, each as fast as it is answered, until
// stop. It returns when as many were answered as there are clients.
func flood(t *testing.T, gateways []*client) (stop func()) {
	const clients = 28 // by all workers done within AckWait, else what waits is delivered twice
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan struct{}, clients)
	var all sync.WaitGroup
	for n := range clients {
		all.Go(func() {
			g := gateways[n%len(gateways)]
			for i := 0; ctx.Err() == nil; i++ {
				status, o, header := g.do("key-other", "POST", "/start", startBody(fmt.Sprint("flood-", n, "-", i)))
				select {
				case answered <- struct{}{}:
				default:
				}
				switch {
				case status == http.StatusOK:
				case status == http.StatusTooManyRequests && header.Get("Retry-After") == "1" && strings.Contains(o.text("detail"), "nothing was done"):
					select {
					case <-time.After(time.Second):
					case <-ctx.Done():
					}
				default:
					t.Errorf("the flood is answered %d %v", status, o)
				}
			}
		})
	}
	for range clients {
		<-answered
	}
	return func() { cancel(); all.Wait() }
}

// One tenant's flood of starts leaves another's p99 within twice what it is
// alone. The gateways together let in as many of one tenant as there are
// workers: so nobody waits behind more than one command.
func TestFloodOfAnotherTenant(t *testing.T) {
	t.Parallel()
	gateways := fair(t, fairWorkers/2)
	// The machine may be busy with other tests: once must do. Without bounds it is
	// seven times as long, and no time does.
	for round := range 3 {
		alone := latencies(gateways, fmt.Sprint("alone-", round, "-"))
		stop := flood(t, gateways)
		beside := latencies(gateways, fmt.Sprint("beside-", round, "-"))
		stop()
		t.Logf("p50 %s, p99 %s alone; p50 %s, p99 %s beside a flood",
			alone[len(alone)/2], p99(alone), beside[len(beside)/2], p99(beside))
		if p99(beside) <= 2*p99(alone) {
			return
		}
	}
	t.Error("the other's p99 is more than twice what it is alone")
}

// Without bounds the same flood is seen: the test above can fail.
func TestFloodWithoutBounds(t *testing.T) {
	t.Parallel()
	gateways := fair(t, 0)
	stop := flood(t, gateways)
	defer stop()
	begin := time.Now()
	gateways[0].want(http.StatusOK, "key-plain", "POST", "/start", startBody("s"))
	took := time.Since(begin)
	t.Logf("%s beside a flood without bounds", took)
	if took < 3*fairTakes {
		t.Errorf("it took %s, as if there were no flood", took)
	}
}

// A queue that has no room is a 503 at once, with the time to come again, and
// nothing is stored.
func TestQueueFull(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	taken, finish := make(chan struct{}), make(chan struct{})
	f.before = func(sandbox.Command) { close(taken); <-finish }
	f.serve()
	g := f.gateway().ready()
	first := make(chan int, 1)
	go func() {
		status, _, _ := g.do("key-plain", "POST", "/start", startBody("first"))
		first <- status
	}()
	<-taken // and not acknowledged: it stays in the stream
	s, err := f.conn.JS.Stream(t.Context(), contract.CommandStream)
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.MaxMsgs = 1
	if _, err := f.conn.JS.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	status, o, header := g.do("key-other", "POST", "/start", startBody("second"))
	if took := time.Since(begin); status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" ||
		!strings.Contains(o.text("detail"), "nothing was done") || took > time.Second {
		t.Errorf("%d %v, Retry-After %q, after %s", status, o, header.Get("Retry-After"), took)
	}
	close(finish)
	if status := <-first; status != http.StatusOK {
		t.Errorf("the first: %d", status)
	}
	g.want(http.StatusNotFound, "key-other", "GET", "/sessions/second", "")
}

// A provisioner's word that Kubernetes is busy reaches the client as it is.
func TestKubernetesBusy(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	f.refuse = &sandbox.Error{Code: sandbox.CodeUnavailable, Message: "Kubernetes is busy now, nothing was done, try again", RetryAfter: 3 * time.Second}
	f.serve()
	g := f.gateway().ready()
	status, o, header := g.do("key-plain", "POST", "/start", startBody("s"))
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") != "3" || o.text("error") != "unavailable" || o.text("detail") != f.refuse.Message {
		t.Errorf("%d %v, Retry-After %q", status, o, header.Get("Retry-After"))
	}
}
