package activity

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
)

const (
	// ReportEvery is how often one sandbox is reported at most. Idle limits are
	// minutes.
	ReportEvery = 10 * time.Second
	// roundEvery is how often it is looked which are due, so that the first
	// byte after a long silence is told soon.
	roundEvery = time.Second
	// flushTimeout bounds the last round, on the way out.
	flushTimeout = 2 * time.Second
)

// Store is where activity is reported to.
type Store interface {
	Put(ctx context.Context, key string, a contract.Activity) error
}

// Reporter writes what a Tracker saw. One goroutine writes all.
type Reporter struct {
	tracker *Tracker
	store   Store
	known   func(runtimeID string) bool
	log     *zap.Logger
	failing bool
}

// NewReporter returns a reporter; known says whether a sandbox still is one.
func NewReporter(t *Tracker, s Store, known func(runtimeID string) bool, log *zap.Logger) *Reporter {
	return &Reporter{tracker: t, store: s, known: known, log: log}
}

// Run reports until ctx ends, and once more then.
func (r *Reporter) Run(ctx context.Context) error {
	tick := time.NewTicker(roundEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.round(ctx, ReportEvery)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
			defer cancel()
			r.round(last, 0)
			return ctx.Err()
		}
	}
}

// round writes all that is due. It ends with the first failure, so that it is
// short while NATS is away; what was not written stays due, and the next round
// comes upon it in another order.
func (r *Reporter) round(ctx context.Context, every time.Duration) {
	due := r.tracker.due(r.known, every, time.Now())
	for i, e := range due {
		last := e.last.Load()
		err := r.store.Put(ctx, e.key, contract.Activity{RuntimeID: e.runtimeID, Last: time.Unix(0, last).UTC()})
		if err != nil {
			if !r.failing { // once, not every round
				r.log.Warn("activity cannot be reported, it is tried again", zap.Int("sandboxes", len(due)-i), zap.Error(err))
			}
			r.failing = true
			return
		}
		e.reported, e.reportedAt = last, time.Now()
		if r.failing {
			r.log.Info("activity is reported again")
		}
		r.failing = false
	}
}
