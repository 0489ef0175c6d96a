package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sandbar-io/sandbar/tools/devstack/stack"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/bed"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/figure"
)

const (
	readers   = 16
	readCount = 1000 // sandboxes
	batchSize = 100
)

var read = Benchmark{
	Name:  "read",
	What:  fmt.Sprintf("GET /sessions/{id}, /runtime/{id} and a batch of %d, %d at once, of %d sandboxes; p99 at half of the slower one's rate", batchSize, readers, readCount),
	Limit: "a bare net/http server with a prepared answer of that size",
	Run: func(ctx context.Context, e *Env) ([]figure.Case, error) {
		b, err := e.Start(ctx, "read", stack.Options{})
		if err != nil {
			return nil, err
		}
		defer func() { _ = b.Close() }()
		if err := b.Seed(ctx, readCount, "127.0.0.1"); err != nil {
			return nil, err
		}
		all, err := b.List(ctx, b.Gateway(0))
		if err != nil {
			return nil, err
		}
		var cases []figure.Case
		for _, c := range []struct {
			name string
			path func(n int) string
		}{
			{"session", func(n int) string { return "/sessions/" + all[n%len(all)].SessionID }},
			{"runtime", func(n int) string { return "/runtime/" + all[n%len(all)].RuntimeID }},
			{"batch of 100", func(n int) string {
				ids := make([]string, batchSize)
				for i := range ids {
					ids[i] = all[(n*batchSize+i)%len(all)].SessionID
				}
				return "/sessions/batch?ids=" + strings.Join(ids, ",")
			}},
		} {
			ours, err := gateway(b, 0, c.path)
			if err != nil {
				return cases, err
			}
			example, err := b.Get(ctx, b.Gateway(0)+c.path(0))
			if err != nil {
				return cases, err
			}
			bare, err := prepared(ctx, e, b.HTTP, c.name, example)
			if err != nil {
				return cases, err
			}
			rate, err := moderate(ctx, 0.5, time.Second, readers, ours, bare)
			if err != nil {
				return cases, err
			}
			rounds, err := figure.Alternate(ctx, e.Rounds, both(readers, rate, e.Duration, ours), both(readers, rate, e.Duration, bare))
			cases = append(cases, figure.Case{
				Name: c.name, Rounds: rounds, Note: fmt.Sprintf("answers of %d bytes; p99 at %.0f/s; %s", len(example), rate, spent(rounds)),
				Bounds: []figure.Bound{{Value: figure.Rate, AtLeast: 0.6}, {Value: figure.P99, AtMost: 2}},
			})
			if err != nil {
				return cases, err
			}
		}
		return cases, nil
	},
}

// gateway asks one of the gateways.
func gateway(b *bed.Bed, which int, path func(n int) string) (side, error) {
	pid, err := b.Stack.Pid(b.Stack.Of("gateway")[which].Name)
	return side{pid, func(ctx context.Context, n int) error {
		_, err := b.Get(ctx, b.Gateway(which)+path(n))
		return err
	}}, err
}

// prepared asks a bare server that always gives this answer.
func prepared(ctx context.Context, e *Env, client *http.Client, name string, answer []byte) (side, error) {
	file := filepath.Join(e.Dir, "lab", "prepared-"+strings.ReplaceAll(name, " ", "-")+".json")
	if err := os.WriteFile(file, answer, 0o644); err != nil {
		return side{}, fmt.Errorf("prepared answer: %w", err)
	}
	server, err := e.Limit(ctx, "prepared", file)
	return side{server.Pid, func(ctx context.Context, _ int) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
		if err != nil {
			return err
		}
		_, err = bed.Answer(client, req)
		return err
	}}, err
}

// Large is the stack with many sandboxes, made when it is asked for first.
func (e *Env) Large(ctx context.Context) (*bed.Bed, error) {
	if e.large != nil {
		return e.large, nil
	}
	b, err := e.Start(ctx, "large", stack.Options{Gateways: 2})
	if err != nil {
		return nil, err
	}
	if e.footprint, err = settle(ctx, b); err != nil {
		return nil, err
	}
	e.Say("makes %d sandboxes", e.Sandboxes)
	if err := b.Seed(ctx, e.Sandboxes/10, "127.0.0.1"); err != nil {
		return nil, err
	}
	some, err := settle(ctx, b)
	if err != nil {
		return nil, err
	}
	e.footprint["provisioner-0"] = some["provisioner-0"]
	if err := b.Seed(ctx, e.Sandboxes, "127.0.0.1"); err != nil {
		return nil, err
	}
	e.large = b
	e.full, err = settle(ctx, b)
	return b, err
}

var list = Benchmark{
	Name:  "list",
	What:  fmt.Sprintf("GET /list with %d sandboxes, one at a time", Many),
	Limit: "a bare net/http server with a prepared answer of that size",
	Run: func(ctx context.Context, e *Env) ([]figure.Case, error) {
		b, err := e.Large(ctx)
		if err != nil {
			return nil, err
		}
		ours, err := gateway(b, 0, func(int) string { return "/list" })
		if err != nil {
			return nil, err
		}
		example, err := b.Get(ctx, b.Gateway(0)+"/list")
		if err != nil {
			return nil, err
		}
		var shown struct{ Total int }
		if err := json.Unmarshal(example, &shown); err != nil || shown.Total != e.Sandboxes {
			return nil, fmt.Errorf("/list shows %d sandboxes: %w", shown.Total, err)
		}
		bare, err := prepared(ctx, e, b.HTTP, "list", example)
		if err != nil {
			return nil, err
		}
		rate, err := moderate(ctx, 0.5, 2*time.Second, 1, ours, bare)
		if err != nil {
			return nil, err
		}
		rounds, err := figure.Alternate(ctx, e.Rounds, both(1, rate, 2*e.Duration, ours), both(1, rate, 2*e.Duration, bare))
		return []figure.Case{{
			Name: "list", Rounds: rounds, Bounds: []figure.Bound{{Value: figure.P50, AtMost: 1.5}},
			Note: fmt.Sprintf("%d sandboxes, an answer of %.2f MB, %.1f/s; %s", e.Sandboxes, float64(len(example))/1e6, rate, spent(rounds)),
		}}, err
	},
}
