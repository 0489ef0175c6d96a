package admission

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Reason is why a command was not let in: the label of a metric. Tenants are no
// label: there may be any number of them, and the log names them.
type Reason string

// The reasons.
const (
	ReasonTenant Reason = "tenant" // its tenant's queue is full
	ReasonQueue  Reason = "queue"  // the queue is full
	ReasonLate   Reason = "late"   // it waited too long
	ReasonAway   Reason = "away"   // NATS or all provisioners went while it waited
	ReasonGone   Reason = "gone"   // its client did
)

type counts struct {
	refused *prometheus.CounterVec
	seconds prometheus.Histogram
}

func newCounts() counts {
	c := counts{
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sandbar_gateway_commands_refused_total", Help: "Commands that were not sent: their tenant's queue or the whole was full, they waited too long, or nobody was there.",
		}, []string{"reason"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sandbar_gateway_command_wait_seconds", Help: "Time that a command waited for its turn.",
			Buckets: []float64{.001, .01, .05, .1, .25, .5, 1, 2, 4},
		}),
	}
	for _, r := range []Reason{ReasonTenant, ReasonQueue, ReasonLate, ReasonAway, ReasonGone} {
		c.refused.WithLabelValues(string(r)) // so that a rate begins at 0
	}
	return c
}

func (c counts) refuse(r Reason)         { c.refused.WithLabelValues(string(r)).Inc() }
func (c counts) wait(took time.Duration) { c.seconds.Observe(took.Seconds()) }

// Register adds the gate's metrics.
func (g *Gate) Register(to prometheus.Registerer) {
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			g.mu.Lock()
			defer g.mu.Unlock()
			return value()
		})
	}
	to.MustRegister(g.counts.refused, g.counts.seconds,
		gauge("sandbar_gateway_commands_in_flight", "Commands that were sent and not answered yet.", func() float64 { return float64(g.running) }),
		gauge("sandbar_gateway_commands_places", "Commands that may be under way: COMMANDS_IN_FLIGHT, or what COMMANDS_PACED found out, which for floods is of all gateways together, below 1 for that part of the time; 0: any number.", func() float64 {
			if !g.paced {
				return float64(g.limits.Total)
			}
			return g.pace.number()
		}),
		gauge("sandbar_gateway_commands_waiting", "Commands that wait for their turn.", func() float64 { return float64(g.waiting) }),
		gauge("sandbar_gateway_tenants_waiting", "Tenants of which a command waits: one floods, or all do.", func() float64 {
			n := 0.
			for _, t := range g.tenants {
				if t.queue.Len() > 0 {
					n++
				}
			}
			return n
		}))
}
