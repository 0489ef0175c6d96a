package command

import (
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// answer reads a reply and merges its view, so that a read on this gateway sees
// the change before the caller does.
func (s *Sender) answer(c sandbox.Command, m *nats.Msg, log *zap.Logger) (*sandbox.View, error) {
	s.silent.over() // what is answered was stored
	var r contract.Reply
	if err := json.Unmarshal(m.Data, &r); err != nil {
		return nil, fmt.Errorf("decode reply: %w", err)
	}
	if err := r.Refusal(); err != nil {
		log.Debug("the command was refused", zap.String("code", string(r.Code)), zap.String("message", r.Message))
		return nil, err
	}
	v := r.View
	switch {
	case r.CommandID != c.ID:
		return nil, fmt.Errorf("the reply to %s came for %.64q", c.ID, r.CommandID)
	case v == nil:
		return nil, fmt.Errorf("the reply to %s holds no view", c.ID)
	case v.Tenant != c.Tenant || v.SessionID != c.SessionID || v.Record != sandbox.RecordName(c.Tenant, c.SessionID):
		return nil, fmt.Errorf("the reply to %s holds another sandbox's view", c.ID)
	}
	if err := s.sealer.Open(v); err != nil {
		return nil, fmt.Errorf("the reply to %s: %w", c.ID, err)
	}
	if s.views.Memory().Merge(v, r.Revision) {
		return v, nil
	}
	// What is newer and of the same generation is the same answer, further on.
	// A later generation is another command's doing, not the answer to this.
	if n := s.views.Memory().Session(c.Tenant, c.SessionID); n != nil && n.Generation == v.Generation {
		return n.View, nil
	}
	return v, nil
}
