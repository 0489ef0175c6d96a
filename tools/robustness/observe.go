package robustness

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/history"
)

// observe begins to record what clients do not see, until ctx ends: pods, views,
// events, and how slow the machine is. It returns those that read streams.
func (w *world) observe(ctx context.Context, all *sync.WaitGroup) ([]*tail, error) {
	// As the watcher: of all users only it may read both streams.
	nc, err := nats.Connect(w.NATSURL, nats.UserInfo("watcher", w.Secrets.NATS["watcher"]),
		nats.CustomInboxPrefix("_INBOX_watcher"), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond),
		nats.PingInterval(time.Second))
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, err
	}
	tails := []*tail{
		{js: js, stream: contract.EventStream, filter: contract.AllEvents, take: w.event},
		{js: js, stream: contract.ViewStream, filter: "$KV." + contract.ViewBucket + ".>", take: w.view},
	}
	var readers sync.WaitGroup
	for _, t := range tails {
		readers.Go(func() { t.run(ctx) })
	}
	readers.Go(func() { w.watchPods(ctx) })
	readers.Go(func() { w.ticks(ctx) })
	readers.Go(func() { w.pulse(ctx, "nats", func(context.Context) error { _, err := nc.RTT(); return err }) })
	for _, g := range w.gateways {
		readers.Go(func() {
			w.pulse(ctx, g.name, func(ctx context.Context) error {
				_, err := client.Caller{Base: g.url, HTTP: w.http}.Do(ctx, client.Request{Method: http.MethodGet, Path: "/health"})
				return err
			})
		})
	}
	all.Go(func() {
		readers.Wait()
		nc.Close()
	})
	return tails, nil
}

const (
	// slow is what counts as a slow moment of the machine; each part of it takes
	// about a millisecond else.
	slow      = 40 * time.Millisecond
	tickEvery = 10 * time.Millisecond
	pulseEach = 100 * time.Millisecond
)

// ticks notices when this process itself gets no time.
func (w *world) ticks(ctx context.Context) {
	for last := w.recorder.Now(); ctx.Err() == nil; last = w.recorder.Now() {
		wait(ctx, tickEvery)
		w.late("timer", w.recorder.Now()-last-tickEvery)
	}
}

// pulse notices when a part that has nothing to do takes long to say so.
func (w *world) pulse(ctx context.Context, what string, ask func(context.Context) error) {
	for ctx.Err() == nil {
		begin := w.recorder.Now()
		if err := ask(ctx); err == nil { // else there is a fault
			w.late(what, w.recorder.Now()-begin)
		}
		wait(ctx, pulseEach)
	}
}

func (w *world) late(what string, late time.Duration) {
	if late >= slow {
		w.recorder.Add(history.Entry{Pulse: &history.Pulse{At: w.recorder.Now(), Late: late, What: what}})
	}
}
