package command_test

import (
	"context"
	"encoding/json"
	"sync"
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
	"github.com/sandbar-io/sandbar/pkg/views"
	"github.com/sandbar-io/sandbar/services/gateway/internal/admission"
	"github.com/sandbar-io/sandbar/services/gateway/internal/command"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const sealingKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

// fast keeps the relations of DefaultTiming.
var fast = command.Timing{
	Deadline: 800 * time.Millisecond, Grace: 100 * time.Millisecond, Ack: 100 * time.Millisecond,
	Away: 100 * time.Millisecond, Rebuild: 400 * time.Millisecond, Retry: 10 * time.Millisecond, Turn: 400 * time.Millisecond,
	Silent: time.Second, Probe: 500 * time.Millisecond,
}

func startServer(t *testing.T) *natstest.Server {
	t.Helper()
	return natstest.Start(t, server.Options{})
}

func connect(t *testing.T, url string) *natsx.Conn {
	t.Helper()
	c, err := natsx.Connect("gateway", natsx.Config{URL: url, Replicas: 1}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// memory is Views whose read index is scripted.
type memory struct {
	mem   *views.Memory
	index func(*views.Memory) error
}

func (m *memory) Memory() *views.Memory { return m.mem }

func (m *memory) ReadIndex(context.Context) error {
	if m.index == nil {
		return nil
	}
	return m.index(m.mem)
}

func newMemory() *memory { return &memory{mem: views.NewMemory()} }

func newSealer(t *testing.T) *contract.Sealer {
	t.Helper()
	s, err := contract.NewSealer(sealingKey)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newSender(t *testing.T, c *natsx.Conn, v command.Views, present bool) *command.Sender {
	t.Helper()
	return newSenderBehind(t, c, v, func() bool { return present }, admission.Limits{})
}

func newSenderBehind(t *testing.T, c *natsx.Conn, v command.Views, present func() bool, l admission.Limits) *command.Sender {
	t.Helper()
	s, err := command.New(c, v, newSealer(t), present, admission.New(l), zap.NewNop(), fast)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// delivery is a command as a provisioner gets it.
type delivery struct {
	command sandbox.Command
	header  nats.Header
}

// script answers the n-th command, from 0 on; nil: not at all.
type script func(n int, d delivery) *contract.Reply

// provisioner takes commands from the queue by the script and keeps them.
type provisioner struct {
	mu   sync.Mutex
	seen []delivery
	nc   *nats.Conn
}

func (p *provisioner) deliveries() []delivery {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]delivery(nil), p.seen...)
}

func startProvisioner(t *testing.T, url string, answer script) *provisioner {
	t.Helper()
	c := connect(t, url)
	p := &provisioner{nc: c.Conn}
	cons, err := c.EnsureCommands(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var working sync.WaitGroup
	consuming, err := cons.Consume(func(m jetstream.Msg) {
		working.Add(1)
		defer working.Done()
		cmd, err := contract.DecodeCommand(m.Subject(), m.Data())
		if err != nil {
			t.Errorf("decode: %v", err)
		}
		d := delivery{cmd, m.Headers()}
		p.mu.Lock()
		n := len(p.seen)
		p.seen = append(p.seen, d)
		p.mu.Unlock()
		if r := answer(n, d); r != nil {
			p.reply(t, d, *r)
		}
		_ = m.Ack()
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { consuming.Stop(); <-consuming.Closed(); working.Wait() })
	return p
}

func (p *provisioner) reply(t *testing.T, d delivery, r contract.Reply) {
	to := d.header.Get(contract.HeaderReplyTo)
	if !contract.ValidReplySubject(to) {
		t.Errorf("reply subject %q is malformed", to)
	}
	body, err := json.Marshal(r)
	if err != nil {
		t.Error(err)
	}
	if err := p.nc.Publish(to, body); err != nil {
		t.Error(err)
	}
}

const runtimeID = "abcdefghijklmnop"

func view(cmd sandbox.Command, generation int64) *sandbox.View {
	return &sandbox.View{
		Tenant: cmd.Tenant, SessionID: cmd.SessionID, Record: sandbox.RecordName(cmd.Tenant, cmd.SessionID), RuntimeID: runtimeID,
		Generation: generation, Incarnation: 1, Order: 1, LastCommand: cmd.ID,
		Status: sandbox.StatusStarting, PodStatus: sandbox.PodNotFound, SessionKey: "key-" + cmd.SessionID,
	}
}

// accept is the reply to a command that was taken.
func accept(t *testing.T, cmd sandbox.Command, generation int64) *contract.Reply {
	v := view(cmd, generation)
	newSealer(t).Seal(v)
	v.SessionKey = ""
	return &contract.Reply{CommandID: cmd.ID, View: v, Revision: uint64(generation)}
}

func refuse(cmd sandbox.Command, code sandbox.Code) *contract.Reply {
	return &contract.Reply{CommandID: cmd.ID, Code: code, Message: "said " + string(code)}
}

func start(session string) sandbox.Command {
	return sandbox.Command{Verb: sandbox.Start, Tenant: "t", SessionID: session, Spec: &sandbox.Spec{Image: "img", ResourceFactor: 1}}
}

func change(verb sandbox.Verb, session string) sandbox.Command {
	return sandbox.Command{Verb: verb, Tenant: "t", SessionID: session, RuntimeID: runtimeID}
}
