package command

import (
	"fmt"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/services/gateway/internal/admission"
)

// peers carries between a gate and the other gateways' what holds floods back. The gate
// does not wait for the bus: what it could not tell yet is replaced by what it tells next.
type peers struct {
	sub  *nats.Subscription
	next chan contract.Pace
	done chan struct{}
}

// meet makes a gate one of those on the bus, by a name of its own.
func meet(nc *nats.Conn, name string, gate *admission.Gate, log *zap.Logger) (*peers, error) {
	p := &peers{next: make(chan contract.Pace, 1), done: make(chan struct{})}
	gate.Among(name, p.tell)
	var err error
	p.sub, err = nc.Subscribe(contract.PaceSubject, func(m *nats.Msg) {
		told, err := contract.DecodePace(m.Data)
		if err != nil {
			log.Warn("a message about other gateways' commands is malformed and is ignored", zap.Error(err))
			return
		}
		gate.Hear(told)
	})
	if err != nil {
		return nil, fmt.Errorf("listen for other gateways: %w", err)
	}
	go p.publish(nc, log)
	return p, nil
}

// tell is called by one at a time.
func (p *peers) tell(is contract.Pace) {
	select {
	case <-p.next:
	default:
	}
	p.next <- is
}

func (p *peers) publish(nc *nats.Conn, log *zap.Logger) {
	for {
		select {
		case <-p.done:
			return
		case is := <-p.next:
			body, err := contract.EncodePace(is)
			if err == nil {
				err = nc.Publish(contract.PaceSubject, body)
			}
			if err != nil {
				log.Debug("other gateways cannot be told what this one has under way", zap.Error(err))
			}
		}
	}
}

func (p *peers) close() {
	_ = p.sub.Unsubscribe() // the connection may be gone
	close(p.done)
}
