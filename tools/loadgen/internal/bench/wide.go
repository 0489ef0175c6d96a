package bench

import (
	"context"
	"fmt"
	"net/url"

	"github.com/sandbar-io/sandbar/tools/devstack/stack"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/bed"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/figure"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/load"
)

// wideRate is what each of them is asked, a second: little enough that the most of them
// leave the machine's cores idle at times.
const wideRate = 400

var wideSteps = []int{2, 4}

// wide says whether gateways and routers that share the work do more of it in all: on
// one machine no rate can say so, as all share its cores.
var wide = Benchmark{
	Name:  "wide",
	What:  fmt.Sprintf("what a read costs with %v gateways, a request with %v routers, each of which is asked %d a second: time of a core", wideSteps, wideSteps, wideRate),
	Limit: "one of them that is asked all of that",
	Run: func(ctx context.Context, e *Env) ([]figure.Case, error) {
		up, err := e.Limit(ctx, "upstream")
		if err != nil {
			return nil, err
		}
		upstream, err := url.Parse(up.URL)
		if err != nil {
			return nil, err
		}
		most := wideSteps[len(wideSteps)-1]
		b, err := e.Start(ctx, "wide", stack.Options{
			Gateways: most, Routers: most, Settings: []string{"AGENT_SERVER_PORT=" + upstream.Port()},
		})
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
		var gateways, routers sides
		for i := range most {
			g, err := gateway(b, i, func(n int) string { return "/sessions/" + all[n%len(all)].SessionID })
			if err != nil {
				return nil, err
			}
			svc := b.Stack.Of("router")[i]
			r := way{client: b.HTTP, url: svc.URL, host: bed.Host(all[0].URL)}
			if r.pid, err = b.Stack.Pid(svc.Name); err != nil {
				return nil, err
			}
			if err := r.until(ctx); err != nil {
				return nil, err
			}
			gateways, routers = append(gateways, g), append(routers, side{r.pid, r.get("/small")})
		}
		cases, err := widening(ctx, e, "gateway", gateways)
		if err != nil {
			return cases, err
		}
		more, err := widening(ctx, e, "router", routers)
		return append(cases, more...), err
	},
}

// widening compares some of them with one that is asked as much as all of them. A first
// round does not count.
func widening(ctx context.Context, e *Env, kind string, all sides) ([]figure.Case, error) {
	var cases []figure.Case
	for _, n := range wideSteps {
		asked := func(of sides) figure.Measure {
			return func(ctx context.Context) (figure.Sample, error) {
				return of.costing(func() *load.Result {
					return load.Open(ctx, float64(n*wideRate), e.Duration, func(ctx context.Context, i int) error { return of[i%len(of)].ask(ctx, i) })
				})
			}
		}
		rounds, err := figure.Alternate(ctx, e.Rounds, asked(all[:n]), asked(all[:1]))
		if err != nil {
			return cases, err
		}
		cases = append(cases, figure.Case{
			Name: fmt.Sprintf("%d %ss", n, kind), Rounds: rounds, Bounds: []figure.Bound{{Value: figure.CPU, AtMost: 1.2}},
		})
	}
	return cases, nil
}
