package command

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// outcome is what is known of one attempt to publish.
type outcome int

const (
	stored   outcome = iota
	away             // not stored: the bus or all provisioners are away
	absent           // not stored: there is no stream, or nobody leads it
	refused          // not stored: the stream said no
	full             // not stored: the stream has no room, which lasts
	perhaps          // the acknowledgement is missing
	tooLarge         // not stored, and never will be
)

// Attempts that were not made.
var (
	errAbsent = errors.New("no provisioner answers")
	errSilent = errors.New("the stream of the command queue acknowledges nothing")
)

// publish puts a message into the command queue. All attempts carry the same
// Nats-Msg-Id, so that at most one is stored. It returns nil if one is, or may
// be; an error says that none is.
func (s *Sender) publish(ctx context.Context, m *nats.Msg) error {
	begin, maybe := time.Now(), false
	for {
		o, err := s.attempt(ctx, m)
		s.absent.note(o)
		patience := s.timing.Away
		switch o {
		case stored:
			return nil
		case perhaps:
			maybe = true
		case tooLarge:
			if !maybe {
				return sandbox.Wrap(err, sandbox.CodeTooLarge, "the request is too large for the bus")
			}
			return nil
		case full:
			if !maybe {
				return busy(err, queueFull, "the command queue is full, nothing was done, try again")
			}
		case absent:
			patience = max(s.timing.Away, s.timing.Rebuild-s.absent.lasts(begin))
		case away, refused:
		}
		done := !wait(ctx, s.timing.Retry)
		if maybe && done {
			return nil
		}
		if !maybe && (done || time.Since(begin) >= patience) {
			return unreachable(err)
		}
	}
}

// absence is since when there is no queue. It is waited for as long as it takes to
// be made anew, by all commands together: of one that stays away each learns soon.
type absence struct{ since atomic.Int64 } // unix nanoseconds; 0: it is there, for all we know

func (a *absence) note(o outcome) {
	switch o {
	case absent:
		a.since.CompareAndSwap(0, time.Now().UnixNano())
	case stored, refused, full, tooLarge: // somebody answered
		a.since.Store(0)
	case away, perhaps:
	}
}

// lasts is how long it was away already at that time.
func (a *absence) lasts(at time.Time) time.Duration {
	since := a.since.Load()
	if since == 0 {
		return 0
	}
	return max(at.Sub(time.Unix(0, since)), 0)
}

// silence is since when the queue answers nothing over a connection that is there. A
// stream that cannot write, its disk being full for one, takes messages and says nothing,
// to nobody. What was sent to it is of an unknown fate; what was not is refused, but for
// one now and then that finds out whether it is over.
type silence struct {
	mu          sync.Mutex
	life        uint64    // of the connection, by its reconnections
	first, last time.Time // attempts without an answer; first is zero: there was one since
}

// unanswered notes an attempt over a connection of that life.
func (s *silence) unanswered(life uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if life < s.life {
		return
	}
	s.begin(life)
	s.last = time.Now()
	if s.first.IsZero() {
		s.first = s.last
	}
}

// over notes that somebody answered, or that nobody was asked.
func (s *silence) over() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first = time.Time{}
}

// asks reports whether the queue is to be asked, by a command that has so much time left.
func (s *silence) asks(t Timing, life uint64, left time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin(life)
	now := time.Now()
	if s.first.IsZero() || now.Sub(s.first) < t.Silent {
		return true
	}
	if now.Sub(s.last) < t.Probe || left < t.Ack {
		return false
	}
	s.last = now
	return true
}

// begin forgets what an earlier connection was like.
func (s *silence) begin(life uint64) {
	if life > s.life {
		s.life, s.first = life, time.Time{}
	}
}

const (
	// comeBack is when NATS or a provisioner may be there again: as often as they
	// are looked for.
	comeBack = pingEvery
	// queueFull is when a full queue may have room, and one that is silent an answer:
	// 100,000 commands are not done sooner, and all who try now fill it again.
	queueFull = 5 * time.Second
)

func unreachable(err error) error {
	if errors.Is(err, errSilent) {
		return busy(err, queueFull, "the command queue acknowledges nothing now, nothing was done, try again")
	}
	return busy(err, comeBack, "the command queue cannot be reached now, nothing was done, try again")
}

// busy says that nothing was done, and when to try again.
func busy(err error, after time.Duration, message string) error {
	return &sandbox.Error{Code: sandbox.CodeUnavailable, Message: message, Err: err, RetryAfter: after}
}

func (s *Sender) attempt(ctx context.Context, m *nats.Msg) (outcome, error) {
	if !s.present() {
		return away, errAbsent
	}
	if !s.conn.Connected() {
		s.silent.over()
		return away, nats.ErrDisconnected
	}
	life := s.conn.Lives()
	if end, _ := ctx.Deadline(); !s.silent.asks(s.timing, life, time.Until(end)) {
		return away, errSilent
	}
	within, cancel := context.WithTimeout(ctx, s.timing.Ack)
	defer cancel()
	_, err := s.conn.JS.PublishMsg(within, m, jetstream.WithRetryAttempts(0))
	o := classify(err)
	switch {
	case errors.Is(err, nats.ErrMaxPayload): // nobody was asked
	case o != perhaps:
		s.silent.over()
	case ctx.Err() == nil: // else it was not waited for
		s.silent.unanswered(life)
	}
	return o, err
}

// Codes of the server that the client library has no name for.
const (
	errCodeClusterAway        = 10008 // no leader of JetStream itself
	errCodeInsufficient       = 10023 // an account's or the server's bound is reached
	errCodeStorageExceeded    = 10047
	errCodeTooLarge           = 10054
	errCodeStoreFailed        = 10077 // MaxMsgs or MaxBytes is reached, or the disk is full
	errCodeDuplicateInProcess = 10158 // a clustered stream is still storing the first message of this id
)

func classify(err error) outcome {
	var api *jetstream.APIError
	switch {
	case err == nil:
		return stored
	// Nothing is buffered while disconnected; before the first connection the
	// client does not know whether the server takes headers.
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrHeadersNotSupported):
		return away
	case errors.Is(err, nats.ErrMaxPayload):
		return tooLarge
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		return absent
	case errors.As(err, &api):
		return classifyCode(api.ErrorCode)
	}
	return perhaps
}

func classifyCode(code jetstream.ErrorCode) outcome {
	switch code {
	case errCodeDuplicateInProcess:
		return perhaps
	case errCodeClusterAway:
		return absent
	case errCodeInsufficient, errCodeStorageExceeded, errCodeStoreFailed:
		return full
	case errCodeTooLarge:
		return tooLarge
	}
	return refused // too many at once, for one: that passes
}

// wait reports false if ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
