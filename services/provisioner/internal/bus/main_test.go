package bus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/natsx/natstest"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/bus"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/command"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come; the machine may be busy.
const patience = 60 * time.Second

const (
	tenant    = "acme"
	inbox     = "gateway0"
	runtimeID = "qwertyuiopasdfgh"
	secret    = "NEVER-IN-A-LETTER"
)

// world is an embedded NATS server with JetStream on disk, and a connection of
// the test's own.
type world struct {
	t    *testing.T
	srv  *natstest.Server
	conn *natsx.Conn
	ids  atomic.Int64
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, srv: natstest.Start(t, server.Options{JetStreamMaxStore: 64 << 30})}
	w.conn = w.connect()
	if _, err := w.conn.EnsureCommands(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) connect() *natsx.Conn {
	w.t.Helper()
	conn, err := natsx.Connect("test", natsx.Config{URL: w.srv.ClientURL(), Replicas: 1}, zap.NewNop())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(conn.Close)
	return conn
}

// run is one call of a runner.
type run struct {
	command  sandbox.Command
	sequence uint64
	at       time.Time
}

// runner is a Runner that does what the test says, and tells of each call.
type runner struct {
	run    func(ctx context.Context, c sandbox.Command) (command.Outcome, error)
	follow func(ctx context.Context) error

	mu   sync.Mutex
	runs []run
	told chan run
}

func newRunner(f func(ctx context.Context, c sandbox.Command) (command.Outcome, error)) *runner {
	return &runner{run: f, told: make(chan run, 1024)}
}

func (r *runner) Run(ctx context.Context, c sandbox.Command, seq uint64) (command.Outcome, error) {
	call := run{c, seq, time.Now()}
	r.mu.Lock()
	r.runs = append(r.runs, call)
	r.mu.Unlock()
	r.told <- call
	return r.run(ctx, c)
}

func (r *runner) Follow(ctx context.Context, _ command.Outcome) error {
	if r.follow == nil {
		return nil
	}
	return r.follow(ctx)
}

func (r *runner) all() []run {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]run(nil), r.runs...)
}

// done answers with a view, as a runner that succeeded.
func done(_ context.Context, c sandbox.Command) (command.Outcome, error) {
	return command.Outcome{Revision: 7, View: &sandbox.View{
		Tenant: c.Tenant, SessionID: c.SessionID, Record: sandbox.RecordName(c.Tenant, c.SessionID), RuntimeID: runtimeID, Status: sandbox.StatusStarting,
	}}, nil
}

// running is a bus that runs until stop.
type running struct {
	*bus.Bus
	cancel context.CancelFunc
	ended  chan error
}

// work runs a bus with a connection of its own until the test ends.
func (w *world) work(r bus.Runner, workers int) *running {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	b := &running{Bus: bus.New(w.connect(), r, workers, zap.NewNop()), cancel: cancel, ended: make(chan error, 1)}
	go func() { b.ended <- b.Run(ctx) }()
	w.t.Cleanup(func() { b.stop(w.t) })
	return b
}

// stop ends a bus, once.
func (b *running) stop(t *testing.T) {
	b.cancel()
	select {
	case err, open := <-b.ended:
		if open && !errors.Is(err, context.Canceled) {
			t.Errorf("the bus ended with %v", err)
		}
		if open {
			close(b.ended)
		}
	case <-time.After(patience):
		t.Error("the bus does not end")
	}
}

// sent is a command on its way.
type sent struct {
	sandbox.Command
	sequence uint64
	replies  *nats.Subscription
}

func (w *world) id() string { return fmt.Sprintf("command-%d", w.ids.Add(1)) }

func start(session, id string) sandbox.Command {
	return sandbox.Command{
		ID: id, Verb: sandbox.Start, Tenant: tenant, SessionID: session, Deadline: time.Now().Add(10 * time.Second).UTC(),
		Spec: &sandbox.Spec{Image: "image", Environment: map[string]string{"TOKEN": secret}, ResourceFactor: 1},
	}
}

// send publishes a start as a gateway does.
func (w *world) send(session string) sent { return w.sendCommand(start(session, w.id())) }

func (w *world) sendCommand(c sandbox.Command) sent {
	w.t.Helper()
	subject, body, err := contract.EncodeCommand(c)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.sendRaw(c, subject, body, contract.ReplySubject(inbox, c.ID))
}

// sendRaw publishes what need not be a command, and listens where its reply
// should come.
func (w *world) sendRaw(c sandbox.Command, subject string, body []byte, replyTo string) sent {
	w.t.Helper()
	sub, err := w.conn.SubscribeSync(contract.ReplySubject(inbox, c.ID))
	if err != nil {
		w.t.Fatal(err)
	}
	m := nats.NewMsg(subject)
	m.Data = body
	m.Header.Set(jetstream.MsgIDHeader, c.ID)
	if replyTo != "" {
		m.Header.Set(contract.HeaderReplyTo, replyTo)
	}
	ack, err := w.conn.JS.PublishMsg(w.t.Context(), m)
	if err != nil {
		w.t.Fatal(err)
	}
	return sent{c, ack.Sequence, sub}
}

func (w *world) reply(s sent) contract.Reply {
	w.t.Helper()
	m, err := s.replies.NextMsg(patience)
	if err != nil {
		w.t.Fatalf("no reply to %s: %v", s.ID, err)
	}
	var r contract.Reply
	if err := json.Unmarshal(m.Data, &r); err != nil {
		w.t.Fatal(err)
	}
	return r
}

// letter waits for the dead letter of a command.
func (w *world) letter(subject string) (contract.DeadLetter, []byte) {
	w.t.Helper()
	var raw *jetstream.RawStreamMsg
	w.until("a dead letter", func() bool {
		s, err := w.conn.JS.Stream(w.t.Context(), contract.DeadStream)
		if err != nil {
			return false
		}
		raw, err = s.GetLastMsgForSubject(w.t.Context(), subject)
		return err == nil
	})
	var l contract.DeadLetter
	if err := json.Unmarshal(raw.Data, &l); err != nil {
		w.t.Fatal(err)
	}
	return l, raw.Data
}

// empty waits until no command is left in the queue.
func (w *world) empty() {
	w.t.Helper()
	w.until("an empty queue", func() bool {
		s, err := w.conn.JS.Stream(w.t.Context(), contract.CommandStream)
		return err == nil && s.CachedInfo().State.Msgs == 0
	})
}

func (w *world) letters() uint64 {
	w.t.Helper()
	s, err := w.conn.JS.Stream(w.t.Context(), contract.DeadStream)
	if err != nil {
		w.t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

func (w *world) consumer() *jetstream.ConsumerInfo {
	w.t.Helper()
	c, err := w.conn.JS.Consumer(w.t.Context(), contract.CommandStream, contract.CommandConsumer)
	if err != nil {
		w.t.Fatal(err)
	}
	return c.CachedInfo()
}

// until waits for a condition that nothing tells of.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			w.t.Fatalf("waited %v for: %s", patience, what)
		}
	}
}

// wait takes from a channel what must come.
func wait[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited %v for: %s", patience, what)
	}
	panic("unreachable")
}
