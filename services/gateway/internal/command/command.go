// Package command sends one command over the bus and finds out what became of
// it. It knows no HTTP.
package command

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/obs"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
	"github.com/sandbar-io/sandbar/services/gateway/internal/admission"
)

// Timing bounds a command. Deadline + Grace + a read index is what a client
// waits at most; the contract allows 10 s.
type Timing struct {
	Deadline time.Duration // after it nothing new is begun
	Grace    time.Duration // for a reply that was made just before the deadline
	Ack      time.Duration // one wait for the stream's acknowledgement
	Away     time.Duration // how long a bus or provisioner that is away is waited for
	Rebuild  time.Duration // how long a queue that is made anew is waited for
	Retry    time.Duration // between two attempts to publish
	Turn     time.Duration // how long a command waits for its turn; what is left of Deadline is for its work
	Silent   time.Duration // how long a queue may answer nothing before it is not asked by all
	Probe    time.Duration // how long after the last of them it is asked again, by one
}

// DefaultTiming is what the service uses.
var DefaultTiming = Timing{
	Deadline: 8 * time.Second,
	Grace:    500 * time.Millisecond,
	Ack:      time.Second,
	Away:     time.Second,
	Rebuild:  5 * time.Second,
	Retry:    50 * time.Millisecond,
	Turn:     4 * time.Second,
	Silent:   10 * time.Second, // a command's whole time, and more than NATS takes to elect a leader
	Probe:    5 * time.Second,
}

// Origin is where a command comes from, for logs and traces.
type Origin struct {
	RequestID string
	Trace     string // W3C traceparent, "" for none
}

// Views is the memory into which replies are merged.
type Views interface {
	Memory() *views.Memory
	ReadIndex(context.Context) error
}

// Sender sends commands.
type Sender struct {
	conn    *natsx.Conn
	views   Views
	sealer  *contract.Sealer
	present func() bool
	gate    *admission.Gate
	log     *zap.Logger
	timing  Timing
	inbox   *inbox
	peers   *peers
	absent  absence
	silent  silence
}

// New returns a sender that listens for replies, and makes gate one of the gateways' on the
// bus. present says whether there is a provisioner; nothing is sent while there is none. gate
// says which command goes next.
func New(conn *natsx.Conn, v Views, sealer *contract.Sealer, present func() bool, gate *admission.Gate, log *zap.Logger, t Timing) (*Sender, error) {
	in, err := listen(conn.Conn, log)
	if err != nil {
		return nil, err
	}
	others, err := meet(conn.Conn, in.name, gate, log)
	if err != nil {
		in.close()
		return nil, err
	}
	return &Sender{conn: conn, views: v, sealer: sealer, present: present, gate: gate, log: log, timing: t, inbox: in, peers: others}, nil
}

// Close stops listening. No command may be under way.
func (s *Sender) Close() {
	s.inbox.close()
	s.peers.close()
}

// Do sends a command and returns the view that answers it. Where another one
// was accepted in between, a start or resume is sent once more. Id and deadline
// of c are set here.
//
// CodeUnavailable, CodeRateLimited: it was certainly not taken in, and may be
// sent again. CodeTimeout: what became of it is unknown. All other codes are a
// provisioner's word.
func (s *Sender) Do(ctx context.Context, c sandbox.Command, from Origin) (*sandbox.View, error) {
	deadline := time.Now().Add(s.timing.Deadline)
	place, err := s.admit(ctx, c)
	if err != nil {
		return nil, err
	}
	defer place.Leave()
	// From here on a client that goes away changes nothing: its command may be in
	// the queue, and counts until it is answered.
	ctx = context.WithoutCancel(ctx)
	v, err := s.once(ctx, place, c, from, deadline)
	again := c.Verb == sandbox.Start || c.Verb == sandbox.Resume
	if again && sandbox.CodeOf(err) == sandbox.CodeOvertaken && time.Now().Before(deadline) {
		c.Fresh = false // there is one now
		return s.once(ctx, place, c, from, deadline)
	}
	return v, err
}

func (s *Sender) once(ctx context.Context, place *admission.Ticket, c sandbox.Command, from Origin, deadline time.Time) (*sandbox.View, error) {
	c.ID, c.Deadline = newToken(), deadline
	reconnects := s.conn.Lives()
	msg, err := s.message(c, from)
	if err != nil {
		return nil, err
	}
	log := s.log.With(obs.CommandID(c.ID), obs.RequestID(from.RequestID), obs.Tenant(c.Tenant), obs.SessionID(c.SessionID))
	ctx, cancel := context.WithDeadline(ctx, deadline.Add(s.timing.Grace))
	defer cancel()
	publishing, stop := context.WithDeadline(ctx, deadline)
	defer stop()
	// A reply says more than the acknowledgement that may still be missing.
	replies := s.inbox.expect(c.ID, stop)
	defer s.inbox.forget(c.ID)
	if err := s.publish(publishing, msg); err != nil {
		select {
		case m := <-replies:
			return s.answer(c, m, log)
		default:
			return nil, err
		}
	}
	v, err := s.await(ctx, c, replies, reconnects, log)
	place.Note(ended(c.ID, v, err))
	return v, err
}

const (
	lookEvery = 200 * time.Millisecond
	// lostAfter is how long a view of a command may be there and its reply not,
	// where the connection broke meanwhile, before the reply counts as lost.
	lostAfter = time.Second
)

// await waits for the reply. What was on its way when the connection broke never
// comes: then the view is the answer, as it is at the deadline.
func (s *Sender) await(ctx context.Context, c sandbox.Command, replies <-chan *nats.Msg, reconnects uint64, log *zap.Logger) (*sandbox.View, error) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var seen time.Time
	for {
		select {
		case m := <-replies:
			return s.answer(c, m, log)
		case <-ctx.Done():
			return s.settle(context.WithoutCancel(ctx), c, log)
		case <-tick.C:
		}
		if s.conn.Lives() == reconnects {
			continue
		}
		v := s.views.Memory().Session(c.Tenant, c.SessionID)
		switch {
		case v == nil || v.LastCommand != c.ID:
		case seen.IsZero():
			seen = time.Now()
		case time.Since(seen) > lostAfter:
			return v.View, nil
		}
	}
}

func (s *Sender) message(c sandbox.Command, from Origin) (*nats.Msg, error) {
	subject, body, err := contract.EncodeCommand(c)
	if err != nil {
		return nil, err
	}
	m := nats.NewMsg(subject)
	m.Data = body
	m.Header.Set(nats.MsgIdHdr, c.ID)
	m.Header.Set(contract.HeaderReplyTo, contract.ReplySubject(s.inbox.name, c.ID))
	m.Header.Set(contract.HeaderRequestID, from.RequestID)
	if from.Trace != "" {
		m.Header.Set(contract.HeaderTrace, from.Trace)
	}
	return m, nil
}

// settle finds out about a command that nobody answered: if the sandbox's view
// is of this command, that is the answer; else its outcome is unknown.
func (s *Sender) settle(ctx context.Context, c sandbox.Command, log *zap.Logger) (*sandbox.View, error) {
	v := s.views.Memory().Session(c.Tenant, c.SessionID)
	if v == nil || v.LastCommand != c.ID {
		if err := s.views.ReadIndex(ctx); err != nil {
			log.Warn("the views cannot be confirmed", zap.Error(err))
		}
		v = s.views.Memory().Session(c.Tenant, c.SessionID)
	}
	if v != nil && v.LastCommand == c.ID {
		return v.View, nil
	}
	return nil, unknown(fmt.Errorf("no reply to command %s", c.ID), c.Verb)
}

// unknown never says that a command was not carried out: it may be yet.
func unknown(err error, v sandbox.Verb) error {
	return sandbox.Wrap(err, sandbox.CodeTimeout, "no answer in time: whether the %s was or will be carried out is unknown, look at the sandbox's status", v)
}

// newToken returns 22 random characters that can stand in a subject.
func newToken() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails since Go 1.24
	return base64.RawURLEncoding.EncodeToString(b)
}
