package command

import (
	"context"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/gateway/internal/admission"
)

// admit waits for a command's turn: no longer than there is hope, nor so long
// that too little of its deadline is left.
func (s *Sender) admit(ctx context.Context, c sandbox.Command) (*admission.Ticket, error) {
	place, err := s.gate.Join(c.Tenant, c.Verb)
	if err != nil {
		return nil, err
	}
	look := time.NewTicker(s.timing.Away)
	defer look.Stop()
	end := time.NewTimer(s.timing.Turn)
	defer end.Stop()
	for {
		select {
		case <-place.Ready():
			return place, place.Err()
		case <-look.C:
			if s.present() && s.conn.Connected() {
				continue
			}
			_ = place.GiveUp(admission.ReasonAway)
			return nil, unreachable(errAbsent)
		case <-end.C:
			return nil, place.GiveUp(admission.ReasonLate)
		case <-ctx.Done():
			_ = place.GiveUp(admission.ReasonGone)
			return nil, unreachable(ctx.Err())
		}
	}
}

// ended is what the end of a command tells of Kubernetes: nothing where the command
// changed nothing, or was refused for what it is.
func ended(id string, v *sandbox.View, err error) admission.End {
	switch code := sandbox.CodeOf(err); {
	case code == sandbox.CodeUnavailable || code == sandbox.CodeTimeout:
		return admission.Choked
	case err == nil && v.LastCommand == id:
		return admission.Done
	}
	return admission.Elsewhere
}
