package command

import (
	"fmt"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
)

// inbox hands the replies that come by the process's one subscription to those
// who wait for them.
type inbox struct {
	name string
	sub  *nats.Subscription
	log  *zap.Logger

	mu      sync.Mutex
	waiting map[string]waiter // by command id
}

type waiter struct {
	replies chan *nats.Msg // of length 1: a redelivered command may be answered twice
	arrived func()
}

func listen(nc *nats.Conn, log *zap.Logger) (*inbox, error) {
	in := &inbox{name: newToken(), log: log, waiting: map[string]waiter{}}
	var err error
	if in.sub, err = nc.Subscribe(contract.ReplyWildcard(in.name), in.dispatch); err != nil {
		return nil, fmt.Errorf("listen for replies: %w", err)
	}
	return in, nil
}

func (in *inbox) close() { _ = in.sub.Unsubscribe() } // the connection may be gone

// expect returns the channel of one command's first reply; arrived is called
// when it is there.
func (in *inbox) expect(id string, arrived func()) <-chan *nats.Msg {
	w := waiter{make(chan *nats.Msg, 1), arrived}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.waiting[id] = w
	return w.replies
}

func (in *inbox) forget(id string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	delete(in.waiting, id)
}

func (in *inbox) dispatch(m *nats.Msg) {
	id := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
	in.mu.Lock()
	w, ok := in.waiting[id]
	delete(in.waiting, id)
	in.mu.Unlock()
	if !ok {
		in.log.Debug("a reply came that nobody waits for", zap.String("command_id", id))
		return
	}
	w.replies <- m
	w.arrived()
}
