// Package claims tells the watcher which sandboxes their clients ask for: one
// that nobody asked for since it was started is taken back.
package claims

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/obs"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

const (
	// writeTimeout bounds one write. A claim that could not be written is made
	// again by the next request for the sandbox.
	writeTimeout = 5 * time.Second
	// maxWaiting bounds the queue, maxKnown what is remembered. Past either a
	// claim is only written later, or once more.
	maxWaiting = 4096
	maxKnown   = 100_000
)

// claim is one that waits to be written.
type claim struct {
	subject string
	contract.Claim
}

// Writer writes each claim once.
type Writer struct {
	js    jetstream.JetStream
	log   *zap.Logger
	queue chan claim

	known sync.Map // runtime id → generation that was claimed
	count atomic.Int64
}

// New returns a writer; Run writes.
func New(js jetstream.JetStream, log *zap.Logger) *Writer {
	return &Writer{js: js, log: log, queue: make(chan claim, maxWaiting)}
}

// Claim says that a client asked for a sandbox. It costs a look into a map, and
// never waits.
func (w *Writer) Claim(v *sandbox.View) {
	if got, ok := w.known.Load(v.RuntimeID); ok && got.(int64) >= v.Generation {
		return
	}
	c := claim{contract.ClaimSubject(v.Tenant, v.Record), contract.Claim{RuntimeID: v.RuntimeID, Generation: v.Generation}}
	select {
	case w.queue <- c:
		w.remember(c)
	default:
	}
}

func (w *Writer) remember(c claim) {
	if _, had := w.known.Swap(c.RuntimeID, c.Generation); !had && w.count.Add(1) > maxKnown {
		w.known.Clear()
		w.count.Store(0)
	}
}

// Run writes claims until ctx ends.
func (w *Writer) Run(ctx context.Context) error {
	failing := false
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case c := <-w.queue:
			err := w.write(ctx, c)
			if err != nil {
				w.known.CompareAndDelete(c.RuntimeID, c.Generation)
			}
			if err != nil && !failing && ctx.Err() == nil { // once, not for each
				w.log.Warn("claims cannot be written, they are made again", obs.RuntimeID(c.RuntimeID), zap.Error(err))
			}
			failing = err != nil
		}
	}
}

func (w *Writer) write(ctx context.Context, c claim) error {
	body, err := json.Marshal(c.Claim)
	if err != nil {
		return fmt.Errorf("encode claim: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if _, err := w.js.Publish(ctx, c.subject, body, jetstream.WithExpectStream(contract.ActivityStream), jetstream.WithRetryAttempts(0)); err != nil {
		return fmt.Errorf("write claim: %w", err)
	}
	return nil
}
