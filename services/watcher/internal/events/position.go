package events

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// position is how far the events of one sandbox are published.
type position struct {
	sequence uint64 // of the last one in the stream, 0 for none
	number   int64  // its number
	// horizon is from when on the stream is known to hold all it took. Where it
	// holds nothing of a sandbox, what is older was published and has expired.
	horizon time.Time
}

func (p position) out(t sandbox.Transition) bool {
	return t.Number <= p.number || p.sequence == 0 && t.Time.Before(p.horizon)
}

// gap is how many transitions before t will never be published. A restored one
// starts a new count: what was before it was lost with the bucket, and it says
// so by itself.
func (p position) gap(t sandbox.Transition) int64 {
	if t.Type == sandbox.EventRestored {
		return 0
	}
	return t.Number - p.number - 1
}

// find asks the stream.
func find(ctx context.Context, js jetstream.JetStream, subject string) (position, error) {
	s, err := natsx.Stream(ctx, js, contract.EventStream)
	if err != nil {
		return position{}, fmt.Errorf("open the events: %w", err)
	}
	m, err := s.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return position{horizon: horizon(s.CachedInfo(), time.Now())}, nil
	}
	if err != nil {
		return position{}, fmt.Errorf("read the last event of %s: %w", subject, err)
	}
	n, err := strconv.ParseInt(m.Header.Get(contract.HeaderCESequence), 10, 64)
	if err != nil {
		return position{}, fmt.Errorf("the event at %d carries no number: %w", m.Sequence, err)
	}
	return position{sequence: m.Sequence, number: n}, nil
}

// horizon is the zero time where nothing has been dropped yet.
func horizon(info *jetstream.StreamInfo, now time.Time) time.Time {
	first := max(info.Config.FirstSeq, 1)
	switch {
	case info.State.FirstSeq <= first:
		return time.Time{}
	case info.State.Msgs > 0:
		return info.State.FirstTime
	case info.Config.MaxAge > 0:
		return now.Add(-info.Config.MaxAge)
	}
	return time.Time{}
}
