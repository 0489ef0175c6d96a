// Package events publishes the transitions that views carry, each once and in
// order, whoever else publishes too.
package events

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/failpoint"
	"github.com/sandbar-io/sandbar/pkg/obs"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/watcher/internal/meter"
)

// HeaderGap stands in the first event after a gap and says how many are missing
// before it.
const HeaderGap = "ce-gap"

// attempts bounds the tries of one event: each after the first means that
// another watcher published at the same moment.
const attempts = 8

// Publisher publishes. Different sandboxes' events may be published
// concurrently, one sandbox's not.
type Publisher struct {
	js    jetstream.JetStream
	meter *meter.Meter
	log   *zap.Logger

	mu    sync.Mutex
	known map[string]position // contract.EventsOf →
}

// New returns a publisher that knows nothing yet.
func New(js jetstream.JetStream, m *meter.Meter, log *zap.Logger) *Publisher {
	return &Publisher{js: js, meter: m, log: log, known: map[string]position{}}
}

// Publish publishes what is missing of a view's transitions.
func (p *Publisher) Publish(ctx context.Context, v *sandbox.View) error {
	for _, t := range v.Transitions {
		if err := p.publish(ctx, v, t); err != nil {
			return err
		}
	}
	return nil
}

// Published reports whether a transition is known to be out, without asking.
func (p *Publisher) Published(tenant string, t sandbox.Transition) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.known[contract.EventsOf(tenant, t.RuntimeID)]
	return ok && at.out(t)
}

// Reset drops all that is known: the stream was made anew.
func (p *Publisher) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.known)
}

// Forget drops what is known of a sandbox that is gone.
func (p *Publisher) Forget(v *sandbox.View) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.known, contract.EventsOf(v.Tenant, v.RuntimeID))
	for _, t := range v.Transitions {
		delete(p.known, contract.EventsOf(v.Tenant, t.RuntimeID))
	}
}

func (p *Publisher) publish(ctx context.Context, v *sandbox.View, t sandbox.Transition) error {
	subject := contract.EventsOf(v.Tenant, t.RuntimeID)
	for attempt := range attempts {
		at, err := p.position(ctx, subject, attempt == 0 && first(t))
		if err != nil {
			return err
		}
		if at.out(t) {
			if t.Number > at.number {
				at.number = t.Number // expired: the count goes on from here
				p.learn(subject, at)
			}
			return nil
		}
		seq, err := p.send(ctx, v, t, at)
		if err == nil {
			p.learn(subject, position{sequence: seq, number: t.Number})
			return nil
		}
		p.unlearn(subject)
		if !overtaken(err) {
			return fmt.Errorf("publish event %s: %w", contract.EventID(t), err)
		}
	}
	return fmt.Errorf("publish event %s: overtaken %d times in a row", contract.EventID(t), attempts)
}

// send publishes t if at is still the truth.
func (p *Publisher) send(ctx context.Context, v *sandbox.View, t sandbox.Transition, at position) (uint64, error) {
	e, err := contract.NewEvent(v, t)
	if err != nil {
		return 0, err
	}
	msg := &nats.Msg{Subject: e.Subject, Data: e.Body, Header: nats.Header{}}
	for k, val := range e.Headers {
		msg.Header.Set(k, val)
	}
	gap := at.gap(t)
	if gap > 0 {
		msg.Header.Set(HeaderGap, strconv.FormatInt(gap, 10))
	}
	ack, err := p.js.PublishMsg(ctx, msg,
		jetstream.WithMsgID(e.ID), jetstream.WithExpectStream(contract.EventStream),
		jetstream.WithExpectLastSequenceForSubject(at.sequence, contract.EventsOf(v.Tenant, t.RuntimeID)))
	if err = failpoint.After(ctx, "watcher/after-event", err); err != nil {
		return 0, err
	}
	if ack.Duplicate { // ours, whose acknowledgement was lost, or another's
		return ack.Sequence, nil
	}
	p.meter.Event(t.Type)
	if gap > 0 {
		p.meter.Gaps.Add(float64(gap))
		p.log.Warn("events were lost before they were published", obs.Tenant(v.Tenant), obs.RuntimeID(t.RuntimeID), zap.Int64("gap", gap))
	}
	p.log.Info("event", obs.Tenant(v.Tenant), obs.RuntimeID(t.RuntimeID), zap.String("type", string(t.Type)), zap.Int64("number", t.Number))
	return ack.Sequence, nil
}

// justNow is far less than the stream keeps events.
const justNow = time.Minute

// first reports whether a transition is the first of its sandbox that the stream
// gets, as far as the view says: it begins a count, and is so young that an event
// before it cannot have expired. The stream refuses it where it is not.
func first(t sandbox.Transition) bool {
	return (t.Number == 1 || t.Type == sandbox.EventRestored) && time.Since(t.Time) < justNow
}

// position is what is known of a sandbox, or else what the stream says. Of a first
// transition nothing is asked.
func (p *Publisher) position(ctx context.Context, subject string, first bool) (position, error) {
	p.mu.Lock()
	at, ok := p.known[subject]
	p.mu.Unlock()
	if ok || first {
		return at, nil
	}
	at, err := find(ctx, p.js, subject)
	if err != nil {
		return position{}, err
	}
	p.learn(subject, at)
	return at, nil
}

func (p *Publisher) learn(subject string, at position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known[subject] = at
}

func (p *Publisher) unlearn(subject string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.known, subject)
}

// overtaken: the sandbox's last event is not the one that was expected. A
// replicated stream says it with a code of its own.
func overtaken(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) &&
		(api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}
