package command

import (
	"context"
	"time"

	"github.com/sandbar-io/sandbar/services/gateway/internal/admission"
)

// admit waits for a command's turn: no longer than there is hope, nor so long
// that too little of its deadline is left.
func (s *Sender) admit(ctx context.Context, tenant string) (*admission.Ticket, error) {
	place, err := s.gate.Join(tenant)
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
			if s.present() && s.conn.IsConnected() {
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
