package command

import (
	"context"
	"errors"
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
	refused          // not stored: the stream is not there, or said no
	perhaps          // the acknowledgement is missing
	tooLarge         // not stored, and never will be
)

// errAbsent is an attempt that was not made.
var errAbsent = errors.New("no provisioner answers")

// publish puts a message into the command queue. All attempts carry the same
// Nats-Msg-Id, so that at most one is stored. It returns nil if one is, or may
// be; an error says that none is.
func (s *Sender) publish(ctx context.Context, m *nats.Msg) error {
	begin, maybe := time.Now(), false
	for {
		o, err := s.attempt(ctx, m)
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
		case refused:
			patience = s.timing.Rebuild
		case away:
		}
		done := !wait(ctx, s.timing.Retry)
		if maybe && done {
			return nil
		}
		if !maybe && (done || time.Since(begin) >= patience) {
			return sandbox.Wrap(err, sandbox.CodeUnavailable, "the command queue cannot be reached now, nothing was done, try again")
		}
	}
}

func (s *Sender) attempt(ctx context.Context, m *nats.Msg) (outcome, error) {
	if !s.present() {
		return away, errAbsent
	}
	ctx, cancel := context.WithTimeout(ctx, s.timing.Ack)
	defer cancel()
	_, err := s.conn.JS.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
	return classify(err), err
}

// errCodeDuplicateInProcess: a clustered stream is still storing the first
// message of this id.
const errCodeDuplicateInProcess = 10158

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
		return refused
	case errors.As(err, &api) && api.ErrorCode != errCodeDuplicateInProcess:
		return refused
	}
	return perhaps
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
