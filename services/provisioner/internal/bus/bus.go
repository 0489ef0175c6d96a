// Package bus takes commands from the queue, one per free worker, and answers
// them.
package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/failpoint"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/obs"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/command"
)

const (
	// maxDeliveries is how often a command is tried. The next delivery is given
	// up before any work, so that a command that kills its worker ends too.
	maxDeliveries = 5
	// progressEvery is how often a worker says that it lives: three times may be
	// lost.
	progressEvery = natsx.AckWait / 4
	// fetchWait is how long one request for a command stands: shorter than AckWait,
	// so that from its beginning a worker can tell how long it has a command for
	// itself (see alone).
	fetchWait = 1500 * time.Millisecond
	// retryWait is the pause before a failed command is tried again, times the
	// number of tries.
	retryWait = 500 * time.Millisecond
	ensureGap = time.Second
)

// Runner runs commands.
type Runner interface {
	Run(ctx context.Context, c sandbox.Command, seq uint64) (command.Outcome, error)
	Follow(ctx context.Context, out command.Outcome) error
}

// Bus is the provisioner's side of the command queue.
type Bus struct {
	conn    *natsx.Conn
	runner  Runner
	workers int
	places  chan struct{} // taken by who asks for a command or works on one
	log     *zap.Logger
	ready   atomic.Bool

	suspects suspects
	first    first
	given    atomic.Uint64 // the highest sequence that the stream is known to have given out
}

// New returns a bus with so many workers.
func New(conn *natsx.Conn, runner Runner, workers int, log *zap.Logger) *Bus {
	return &Bus{conn: conn, runner: runner, workers: workers, places: make(chan struct{}, workers), log: log}
}

// Ready reports whether the queue was there when last looked.
func (b *Bus) Ready() bool { return b.ready.Load() }

// Run works until ctx ends, and then finishes what it has begun.
func (b *Bus) Run(ctx context.Context) error {
	var begun sync.WaitGroup
	begun.Go(func() { b.lookOut(ctx) })
	defer begun.Wait()
	for {
		cons, err := b.conn.EnsureCommands(ctx)
		if err == nil {
			b.first.look(ctx, b.conn)
			b.ready.Store(true)
			b.work(ctx, cons, &begun)
			b.ready.Store(false)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			b.log.Warn("the command queue cannot be made", zap.Error(err))
		}
		select {
		case <-time.After(ensureGap):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// work starts the workers, and returns when ctx has ended or the queue has to be made
// again. Who works on a command by then finishes it, and keeps its place from a worker of
// the next time; the others are not kept from the queue by it.
func (b *Bus) work(ctx context.Context, cons jetstream.Consumer, begun *sync.WaitGroup) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range b.workers {
		begun.Go(func() {
			defer cancel()
			for ctx.Err() == nil {
				select {
				case b.places <- struct{}{}:
				case <-ctx.Done():
					return
				}
				err := b.next(ctx, cons)
				<-b.places
				if err != nil {
					b.log.Warn("the command queue does not answer", zap.Error(err))
					return
				}
			}
		})
	}
	<-ctx.Done()
}

// next waits for one command and handles it. Each worker asks for one: a
// prefetching consumer would give one provisioner all.
func (b *Bus) next(ctx context.Context, cons jetstream.Consumer) error {
	// The request ends with ctx: one that is left standing would take a command
	// that nobody here works on any more.
	asked := time.Now()
	standing, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	// The library leaves a subscription behind for each request that it cannot send. It
	// still does for one whose connection goes between this look and the request.
	if !b.conn.IsConnected() {
		return fmt.Errorf("fetch: %w", nats.ErrDisconnected)
	}
	batch, err := cons.Fetch(1, jetstream.FetchContext(standing))
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	for m := range batch.Messages() {
		if ctx.Err() != nil {
			_ = m.Nak() // for another; if it is lost, AckWait does it
			continue
		}
		// A stop lets what has begun finish: the attempt has its own end.
		b.handle(context.WithoutCancel(ctx), m, asked)
	}
	err = batch.Error()
	if err == nil || standing.Err() != nil || errors.Is(err, nats.ErrTimeout) || errors.Is(err, jetstream.ErrNoMessages) {
		return nil
	}
	return fmt.Errorf("fetch: %w", err)
}

// handle works on a command that was asked for then.
func (b *Bus) handle(ctx context.Context, m jetstream.Msg, asked time.Time) {
	meta, err := m.Metadata()
	if err != nil {
		b.log.Error("a message is not from the queue", zap.Error(err))
		return
	}
	b.gave(meta.Sequence.Stream)
	failpoint.Hit(ctx, "provisioner/after-fetch")
	c, err := contract.DecodeCommand(m.Subject(), m.Data())
	if err != nil {
		b.giveUp(ctx, m, meta, c, err)
		return
	}
	if meta.NumDelivered > maxDeliveries {
		b.giveUp(ctx, m, meta, c, fmt.Errorf("not done after %d deliveries", maxDeliveries))
		return
	}
	if latest := meta.Timestamp.Add(sandbox.MaxDeadline); c.Deadline.IsZero() || c.Deadline.After(latest) {
		c.Deadline = latest
	}
	log := b.log.With(obs.CommandID(c.ID), obs.RequestID(m.Headers().Get(contract.HeaderRequestID)),
		obs.Tenant(c.Tenant), obs.SessionID(c.SessionID), zap.String("verb", string(c.Verb)), zap.Uint64("sequence", meta.Sequence.Stream))
	ctx, cancel := context.WithTimeout(obs.WithRequest(ctx, m.Headers().Get(contract.HeaderRequestID)), sandbox.LongestAttempt)
	defer cancel()
	stop := b.progress(ctx, m)
	defer stop()
	leave := b.suspects.enter(ctx, meta.Sequence.Stream, meta.NumDelivered)
	defer leave()
	failpoint.HitOf(ctx, "provisioner/before-run", string(c.Verb))
	out, err := b.runner.Run(ctx, c, meta.Sequence.Stream)
	if err == nil && b.older(ctx, out.Fence) {
		if sandbox.CodeOf(out.Err) == sandbox.CodeOvertaken { // by nothing that is still there
			b.behind(ctx, failure{m, meta, c, asked, errOlder}, out, log)
			return
		}
		defer b.skip(ctx, out.Fence)
	}
	if err != nil {
		b.failed(ctx, failure{m, meta, c, asked, err}, log)
		return
	}
	b.reply(ctx, m, c, out)
	if err := b.runner.Follow(ctx, out); err != nil {
		log.Warn("the command is tried again after its reply", zap.Error(err))
		_ = m.NakWithDelay(max(retryWait, command.RetryAfter(err)))
		return
	}
	failpoint.Hit(ctx, "provisioner/before-ack")
	if err := failpoint.After(ctx, "provisioner/after-ack", ack(ctx, m)); err != nil {
		log.Warn("the ack may be lost", zap.Error(err)) // redelivery finds all done
	}
	if !out.Silent || out.View != nil || out.Err != nil {
		fields := []zap.Field{zap.String("code", string(sandbox.CodeOf(out.Err)))}
		if out.View != nil {
			fields = append(fields, obs.RuntimeID(out.View.RuntimeID), zap.String("status", string(out.View.Status)))
		}
		log.Info("command done", append(fields, zap.Error(out.Err))...)
	}
}

// ack ends a command. An answer that is lost with its connection does not come; after
// AckWait the command does, if it is still there.
func ack(ctx context.Context, m jetstream.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, natsx.AckWait)
	defer cancel()
	return m.DoubleAck(ctx)
}

// progress says that the worker lives, as long as the attempt's context does. A
// worker that hangs past that lets the command go to another.
func (b *Bus) progress(ctx context.Context, m jetstream.Msg) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(progressEvery)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				_ = m.InProgress() // if it is lost, the next is not
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { cancel(); <-done }
}

func (b *Bus) reply(ctx context.Context, m jetstream.Msg, c sandbox.Command, out command.Outcome) {
	to := m.Headers().Get(contract.HeaderReplyTo)
	if out.Silent || to == "" {
		return
	}
	if !contract.ValidReplySubject(to) {
		b.log.Warn("a command wants its reply at a wrong subject", obs.CommandID(c.ID))
		return
	}
	r := contract.Reply{CommandID: c.ID, View: out.View, Revision: out.Revision}
	if out.Err != nil {
		r.Refuse(out.Err)
	}
	body, err := json.Marshal(r)
	if err == nil {
		err = failpoint.After(ctx, "provisioner/after-reply", b.conn.Publish(to, body))
	}
	if err != nil {
		b.log.Warn("a reply is lost", obs.CommandID(c.ID), zap.Error(err)) // the gateway reads the view
	}
}

// giveUp writes a dead letter, ends the message and tells the sender. The letter
// comes first: a command is never gone without a trace.
func (b *Bus) giveUp(ctx context.Context, m jetstream.Msg, meta *jetstream.MsgMetadata, c sandbox.Command, cause error) {
	verb, tenant, record, err := contract.ParseCommandSubject(m.Subject())
	if err != nil {
		verb, tenant, record = sandbox.Reconcile, sandbox.DefaultTenant, sandbox.RecordName("", "")
	}
	body, err := json.Marshal(contract.DeadLetter{
		CommandID: c.ID, Verb: verb, Tenant: tenant, Record: record, RuntimeID: c.RuntimeID,
		Sequence: meta.Sequence.Stream, Delivered: meta.NumDelivered, Error: cause.Error(), Time: time.Now().UTC(),
	})
	if err == nil {
		_, err = b.conn.JS.Publish(ctx, contract.DeadLetterSubject(verb, tenant, record), body,
			jetstream.WithMsgID(fmt.Sprintf("%d", meta.Sequence.Stream)))
		err = failpoint.After(ctx, "provisioner/after-deadletter", err)
	}
	if err != nil {
		b.log.Error("a dead letter cannot be written, the command stays", obs.CommandID(c.ID), zap.Error(err))
		_ = m.NakWithDelay(retryWait)
		return
	}
	b.log.Error("a command is given up", obs.CommandID(c.ID), obs.Tenant(tenant), zap.String("verb", string(verb)), zap.Error(cause))
	b.reply(ctx, m, c, command.Outcome{Err: sandbox.Errorf(sandbox.CodeTimeout, "the command was given up; how far it came is not known")})
	_ = m.TermWithReason("dead letter")
}
