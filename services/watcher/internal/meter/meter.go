// Package meter counts what the watcher does. Labels come from closed sets.
package meter

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// Meter holds the counters.
type Meter struct {
	Looks    prometheus.Histogram   // seconds of one look at a key
	Failures prometheus.Counter     // looks that must be done again
	Events   *prometheus.CounterVec // published, by type
	Gaps     prometheus.Counter     // events that were lost before they could be published
	Commands *prometheus.CounterVec // sent, by verb
	Removed  prometheus.Counter     // keys without a record
	Restarts prometheus.Counter     // watches that stood still
	Passes   prometheus.Counter     // full passes over a bucket
}

// New registers the counters; leads and complete are asked for two gauges.
func New(r *prometheus.Registry, leads, complete func() bool) *Meter {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "sandbar_watcher", Name: name, Help: help})
		r.MustRegister(c)
		return c
	}
	vector := func(name, help, label string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "sandbar_watcher", Name: name, Help: help}, []string{label})
		r.MustRegister(c)
		return c
	}
	gauge := func(name, help string, f func() bool) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "sandbar_watcher", Name: name, Help: help}, func() float64 {
			if f() {
				return 1
			}
			return 0
		}))
	}
	gauge("leads", "Whether this watcher leads.", leads)
	gauge("views_complete", "Whether this watcher leads and the bucket holds all views.", complete)
	looks := prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: "sandbar_watcher", Name: "look_seconds", Help: "Time of one look at a sandbox.",
		Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
	})
	r.MustRegister(looks)
	return &Meter{
		Looks: looks, Failures: counter("look_failures_total", "Looks that have to be done again."),
		Events:   vector("events_total", "Lifecycle events published.", "type"),
		Gaps:     counter("event_gaps_total", "Lifecycle events that were cut before they were published."),
		Commands: vector("commands_total", "Commands sent.", "verb"),
		Removed:  counter("keys_removed_total", "Keys removed because their record is gone."),
		Restarts: counter("watch_restarts_total", "Watches made anew because they stood still."),
		Passes:   counter("passes_total", "Full passes over records and pods."),
	}
}

// Event counts one event.
func (m *Meter) Event(t sandbox.EventType) { m.Events.WithLabelValues(string(t)).Inc() }

// Command counts one command.
func (m *Meter) Command(v sandbox.Verb) { m.Commands.WithLabelValues(string(v)).Inc() }
