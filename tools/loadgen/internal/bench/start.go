package bench

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/bed"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/figure"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/limit"
)

// StartRate is ten times what a cluster of two cores can make.
const StartRate = 300

var startStub = Benchmark{
	Name:  "start-stub",
	What:  fmt.Sprintf("POST /start, %d a second, one gateway, one provisioner, a leading watcher, an API server that answers at once", StartRate),
	Limit: "a JetStream publish with its acknowledgement, the delivery to a consumer and its reply, of that size, at that rate",
	Run: func(ctx context.Context, e *Env) ([]figure.Case, error) {
		b, err := e.Start(ctx, "start-stub", stack.Options{})
		if err != nil {
			return nil, err
		}
		defer func() { _ = b.Close() }() // the lab says what does not end
		reply, err := b.Post(ctx, b.Gateway(0)+"/start", bed.StartBody("first"))
		if err != nil {
			return nil, err
		}
		url, err := e.NATS(ctx)
		if err != nil {
			return nil, err
		}
		body, err := commandBody()
		if err != nil {
			return nil, err
		}
		bus, err := limit.NewBus(ctx, url, body, reply)
		if err != nil {
			return nil, err
		}
		defer bus.Close()
		var n atomic.Int64
		used := bed.CPU{}
		rounds, err := figure.Alternate(ctx, e.Rounds,
			costing(b, used, open(float64(e.Rate), e.Duration, func(ctx context.Context, _ int) error {
				_, err := b.Start(ctx, 0, fmt.Sprintf("start-%d", n.Add(1)))
				return err
			})),
			open(float64(e.Rate), e.Duration, func(ctx context.Context, _ int) error { return bus.Ask(ctx) }))
		return []figure.Case{{
			Name: fmt.Sprintf("%d/s", e.Rate), Bounds: []figure.Bound{{Value: figure.P50, AtMost: 3}, {Value: figure.P99, AtMost: 5}}, Rounds: rounds,
			Note: fmt.Sprintf("%d sandboxes were made; messages of %d and %d bytes; %s", n.Load(), len(body), len(reply), used.Each(int(n.Load()))),
		}}, err
	},
}

// commandBody is a start as it travels, of the size of bed.StartBody's.
func commandBody() ([]byte, error) {
	uid := int64(10001)
	_, body, err := contract.EncodeCommand(sandbox.Command{
		ID: "0123456789abcdef012345", Verb: sandbox.Start, Tenant: "default", SessionID: "start-12345", Deadline: time.Now(),
		Spec: &sandbox.Spec{
			Image: "registry.bench:5000/sandbar/agent-server:1.2.3", Command: []string{"/usr/local/bin/openhands-agent-server", "--port", "60000"},
			WorkingDir: "/", ResourceFactor: 1, RunAsUser: &uid, FSGroup: &uid,
			Environment: map[string]string{
				"OH_WEBHOOKS_0_BASE_URL": "https://app.bench.localhost/api/v1/webhooks", "LOG_JSON": "true",
				"OH_CONVERSATIONS_PATH": "/workspace/conversations", "OH_BASH_EVENTS_DIR": "/workspace/bash_events",
			},
		},
	})
	return body, err
}
