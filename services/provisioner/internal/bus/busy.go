package bus

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/failpoint"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/command"
)

// failure is an attempt that failed.
type failure struct {
	message jetstream.Msg
	meta    *jetstream.MsgMetadata
	command sandbox.Command
	asked   time.Time
	cause   error
}

// failed ends an attempt that failed. The command is tried again, but for a
// client's of which certainly nothing was done, as Kubernetes has no time: that
// one is dropped, and its sender is told when to come again.
func (b *Bus) failed(ctx context.Context, f failure, log *zap.Logger) {
	var busy *command.Busy
	waits := !f.command.Bound() && contract.ValidReplySubject(f.message.Headers().Get(contract.HeaderReplyTo))
	if !errors.As(f.cause, &busy) || !waits || !b.alone(ctx, f, ackTime) {
		log.Warn("the command is tried again", zap.Error(f.cause), zap.Uint64("delivered", f.meta.NumDelivered))
		// If it is lost, AckWait does it.
		_ = f.message.NakWithDelay(max(retryWait*time.Duration(f.meta.NumDelivered), command.RetryAfter(f.cause)))
		return
	}
	b.drop(ctx, f, &sandbox.Error{
		Code: sandbox.CodeUnavailable, Message: "Kubernetes is busy now, nothing was done, try again", Err: f.cause, RetryAfter: busy.After,
	}, log)
}

// drop ends a command of which nothing was done, and tells its sender so. It goes
// before the sender hears of it: what is told to be undone must not be done by
// another delivery. Where one may have begun, nobody can say what becomes of it: no
// word, and the sender is told that.
func (b *Bus) drop(ctx context.Context, f failure, say *sandbox.Error, log *zap.Logger) {
	if err := failpoint.After(ctx, "provisioner/after-busy-ack", ack(ctx, f.message)); err != nil || !b.alone(ctx, f, 0) {
		log.Warn("a command of which nothing was done may come again", zap.Error(err))
		return
	}
	log.Info("command refused, nothing was done", zap.Error(f.cause))
	b.reply(ctx, f.message, f.command, command.Outcome{Err: say})
}

// ackTime is what an ack takes at most, as a rule.
const ackTime = natsx.AckWait / 10

// alone reports whether nobody else has had the command, nor will within left:
// it is the first delivery, and another one comes no sooner than AckWait after
// it, which was not before it was asked for. That holds for a worker that was
// stopped in between, too: it finds that its time is over.
func (b *Bus) alone(ctx context.Context, f failure, left time.Duration) bool {
	return f.meta.NumDelivered == 1 && time.Since(f.asked)+left < natsx.AckWait &&
		b.first.sure(ctx, b.conn, f.meta.Sequence.Stream)
}

// first knows whether a delivery that is counted as the first can be another. A
// single server that is killed loses counts that it had not written down, so what
// stood in the stream before this connection to it was made may have been
// delivered before. (Of several servers, a delivery goes out after most of them
// have counted it.)
type first struct {
	mu         sync.Mutex
	known      bool
	reconnects uint64
	last       uint64 // stream sequence when the connection was made, or later
}

// look notes how far the stream is.
func (f *first) look(ctx context.Context, conn *natsx.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refresh(ctx, conn)
}

func (f *first) refresh(ctx context.Context, conn *natsx.Conn) {
	reconnects := conn.Stats().Reconnects // before the stream is asked
	s, err := natsx.Stream(ctx, conn.JS, contract.CommandStream)
	if f.known = err == nil; f.known {
		f.reconnects, f.last = reconnects, s.CachedInfo().State.LastSeq
	}
}

// sure reports whether a first delivery of this sequence is the first.
func (f *first) sure(ctx context.Context, conn *natsx.Conn, sequence uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.known || f.reconnects != conn.Stats().Reconnects {
		f.refresh(ctx, conn)
		return false // the sequence is in the stream already
	}
	return sequence > f.last
}
