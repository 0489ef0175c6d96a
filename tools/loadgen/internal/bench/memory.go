package bench

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/bed"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/figure"
)

// settleFor is how long memory is looked at: the least that was seen counts. Go gives
// back what it does not need in the background.
const settleFor = 20 * time.Second

// flat is how much more a provisioner may hold after ten times as many sandboxes.
const flat = 1.25

var memory = Benchmark{
	Name:  "memory",
	What:  fmt.Sprintf("resident memory with %d sandboxes beyond that of idle services; of the provisioner, beyond that after %d", Many, Many/10),
	Limit: "the bytes of all views in their stream; of the provisioner, what it held before",
	Run: func(ctx context.Context, e *Env) ([]figure.Case, error) {
		b, err := e.Large(ctx)
		if err != nil {
			return nil, err
		}
		views, err := viewBytes(ctx, b)
		if err != nil {
			return nil, err
		}
		mib := func(bytes float64) figure.Sample {
			return figure.Sample{Values: map[string]float64{figure.Memory: bytes / (1 << 20)}}
		}
		var cases []figure.Case
		for _, name := range []string{"gateway-0", "router-0", "watcher-0"} {
			cases = append(cases, figure.Case{
				Name: name, Bounds: []figure.Bound{{Value: figure.Memory, AtMost: 4}},
				Rounds: []figure.Round{{Ours: mib(e.full[name] - e.footprint[name]), Limit: mib(views)}},
				Note:   fmt.Sprintf("%.0f MiB idle, %.0f MiB with %d sandboxes", e.footprint[name]/(1<<20), e.full[name]/(1<<20), e.Sandboxes),
			})
		}
		return append(cases, figure.Case{
			Name: "provisioner-0", Bounds: []figure.Bound{{Value: figure.Memory, AtMost: flat}},
			Rounds: []figure.Round{{Ours: mib(e.full["provisioner-0"]), Limit: mib(e.footprint["provisioner-0"])}},
		}), nil
	},
}

// settle is the resident memory of each process of a stack, in bytes.
func settle(ctx context.Context, b *bed.Bed) (map[string]float64, error) {
	least := map[string]float64{}
	ctx, cancel := context.WithTimeout(ctx, settleFor)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		for _, name := range b.Stack.Names() {
			pid, err := b.Stack.Pid(name)
			if err != nil {
				return nil, err
			}
			now, err := resident(pid)
			if err != nil {
				return nil, err
			}
			if was, ok := least[name]; !ok || now < was {
				least[name] = now
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return least, nil
		}
	}
}

func resident(pid int) (float64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("memory of %d: %w", pid, err)
	}
	_, rest, _ := strings.Cut(string(raw), "VmRSS:")
	words := strings.Fields(rest)
	if len(words) == 0 {
		return 0, fmt.Errorf("memory of %d is not told", pid)
	}
	kib, err := strconv.ParseFloat(words[0], 64)
	return kib * 1024, err
}

// viewBytes is the size of the bucket of views.
func viewBytes(ctx context.Context, b *bed.Bed) (float64, error) {
	c, err := nats.Connect(b.Stack.NATSURL, nats.UserInfo("gateway", b.Stack.Secrets.NATS["gateway"]), nats.CustomInboxPrefix("_INBOX_gateway"))
	if err != nil {
		return 0, fmt.Errorf("size of the views: %w", err)
	}
	defer c.Close()
	js, err := jetstream.New(c)
	if err != nil {
		return 0, err
	}
	s, err := js.Stream(ctx, contract.ViewStream)
	if err != nil {
		return 0, fmt.Errorf("size of the views: %w", err)
	}
	return float64(s.CachedInfo().State.Bytes), nil
}
