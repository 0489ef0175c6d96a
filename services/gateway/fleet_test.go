package gateway_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/faultproxy"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/natsx/natstest"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fleet is what a gateway talks to: a NATS server, a watcher's heartbeat, and a
// provisioner that decides as the real one and keeps its records in a map.
type fleet struct {
	t     *testing.T
	nats  *natstest.Server
	conn  *natsx.Conn
	store *views.Store
	// announced is that it is there.
	announced micro.Service
	url       sandbox.URLPattern
	before    func(sandbox.Command) // a command is worked on
	// workers work on so many commands at a time, each for a fixed time; 0: one
	// after the other.
	workers int
	takes   time.Duration
	refuse  *sandbox.Error // answers each command; nil: it is carried out

	mu      sync.Mutex // one command at a time, and records
	records map[string]*sandbox.Record
}

func startFleet(t *testing.T) *fleet {
	t.Helper()
	s := natstest.Start(t, server.Options{})
	conn, err := natsx.Connect("provisioner", natsx.Config{URL: s.ClientURL(), Replicas: 1}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	sealer, err := contract.NewSealer(sealingKey)
	if err != nil {
		t.Fatal(err)
	}
	return &fleet{
		t: t, nats: s, conn: conn, store: views.NewStore(conn.JS, sealer, 0), records: map[string]*sandbox.Record{},
		url:    sandbox.URLPattern{Scheme: "http", BaseDomain: "sandbar.localhost", Separator: "."},
		before: func(sandbox.Command) {},
	}
}

// restart starts the server anew, with its store and at its address.
func (f *fleet) restart() {
	f.t.Helper()
	f.nats.Stop()
	f.nats.Start()
}

// line is a way to the server to which happens what happens on networks.
func (f *fleet) line() *faultproxy.Proxy {
	f.t.Helper()
	p, err := faultproxy.Listen(f.nats.Addr().String())
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = p.Close() })
	return p
}

// disconnect ends a client's connection at the server.
func (f *fleet) disconnect(name string) {
	conns, err := f.nats.Connz(&server.ConnzOptions{})
	if err != nil {
		f.t.Error(err)
		return
	}
	for _, c := range conns.Conns {
		if c.Name == name {
			if err := f.nats.DisconnectClientByID(c.Cid); err != nil {
				f.t.Error(err)
			}
		}
	}
}

// serve makes streams and bucket, beats, and takes commands.
func (f *fleet) serve() {
	f.t.Helper()
	if err := f.conn.EnsureViews(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	var err error
	if f.announced, err = f.conn.Announce("provisioner"); err != nil {
		f.t.Fatal(err)
	}
	f.beat()
	cons, err := f.conn.EnsureCommands(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	queue := make(chan jetstream.Msg)
	var all sync.WaitGroup
	for range max(f.workers, 1) {
		all.Go(func() {
			for m := range queue {
				if f.takes > 0 {
					<-time.After(f.takes)
				}
				f.work(m)
				_ = m.Ack()
			}
		})
	}
	consuming, err := cons.Consume(func(m jetstream.Msg) { queue <- m }) // in the stream's order
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { consuming.Stop(); <-consuming.Closed(); close(queue); all.Wait() })
}

func (f *fleet) beat() {
	s, err := f.conn.JS.Stream(f.t.Context(), contract.ViewStream)
	if err != nil {
		f.t.Fatal(err)
	}
	created := s.CachedInfo().Created
	ctx, cancel := context.WithCancel(f.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for ctx.Err() == nil {
			_ = f.store.Beat(ctx, contract.Heartbeat{Leader: "test", Time: time.Now(), Complete: true, Created: created})
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}()
	f.t.Cleanup(func() { cancel(); <-done })
}

func (f *fleet) work(m jetstream.Msg) {
	c, err := contract.DecodeCommand(m.Subject(), m.Data())
	if err != nil {
		f.t.Errorf("decode: %v", err)
		return
	}
	meta, err := m.Metadata()
	if err != nil {
		f.t.Error(err)
		return
	}
	f.before(c)
	r := f.decide(c, meta.Sequence.Stream)
	body, err := json.Marshal(r)
	if err != nil {
		f.t.Error(err)
	}
	_ = f.conn.Publish(m.Headers().Get(contract.HeaderReplyTo), body)
}

func (f *fleet) decide(c sandbox.Command, seq uint64) contract.Reply {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		r := contract.Reply{CommandID: c.ID}
		r.Refuse(f.refuse)
		return r
	}
	now := time.Now()
	key := contract.ViewKey(c.Tenant, sandbox.RecordName(c.Tenant, c.SessionID))
	e := sandbox.Decide(f.records[key], c, sandbox.Facts{Sequence: seq, Now: now})
	if e.Refuse != nil {
		return contract.Reply{CommandID: c.ID, Code: sandbox.CodeOf(e.Refuse), Message: sandbox.MessageOf(e.Refuse)}
	}
	if r := e.Next; r != nil {
		if r.RuntimeID == "" {
			r.RuntimeID, r.SessionKey = sandbox.NewRuntimeID(), sandbox.NewKey()
			r.Route = f.url.NewRoute(r.RuntimeID, sandbox.DefaultPorts)
		}
		if e.RotateKey {
			r.SessionKey = sandbox.NewKey()
		}
		f.records[key] = r
	}
	r := f.records[key]
	p, err := f.store.Put(context.Background(), key, views.Source{
		Observe: func(prev *sandbox.View) sandbox.View {
			v, _ := sandbox.Observe(r, nil, prev, seq, sandbox.DefaultPolicy, now)
			return v
		},
		Live: func(context.Context) (bool, error) { return true, nil },
		Born: r.CreatedAt,
	}, now)
	if err != nil {
		return contract.Reply{CommandID: c.ID, Code: sandbox.CodeInternal, Message: strings.ToUpper(err.Error())}
	}
	return contract.Reply{CommandID: c.ID, View: p.View, Revision: p.Revision}
}
