package command_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/gateway/internal/command"
)

func TestNATSAway(t *testing.T) {
	t.Parallel()
	gone := startServer(t)
	connected := connect(t, gone.ClientURL())
	if err := connected.FlushTimeout(time.Second); err != nil {
		t.Fatal(err)
	}
	gone.Shutdown()
	gone.WaitForShutdown()
	// Until the client has seen it, a publish may have arrived.
	await(t, "the disconnection is seen", func() bool { return !connected.Connected() })
	for name, conn := range map[string]*natsx.Conn{
		"never connected": connect(t, "nats://127.0.0.1:1"),
		"gone":            connected,
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			_, err := newSender(t, conn, newMemory(), true).Do(t.Context(), start("s"), command.Origin{})
			if sandbox.CodeOf(err) != sandbox.CodeUnavailable {
				t.Errorf("Do: %v", err)
			}
			if took := time.Since(begin); took > fast.Deadline/2 {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// Who takes connections and says nothing, as a NATS that hangs, holds the client library
// up: a command does not wait for it.
func TestASilentNATSIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	sender := newSender(t, connect(t, s.ClientURL()), newMemory(), false)
	address := s.Addr().String()
	s.Stop()
	var silent net.Listener
	await(t, "the port", func() (ok bool) {
		var err error
		silent, err = net.Listen("tcp", address)
		return err == nil
	})
	defer func() { _ = silent.Close() }()
	held, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close() }()
	begin := time.Now()
	if _, err := sender.Do(t.Context(), start("s"), command.Origin{}); sandbox.CodeOf(err) != sandbox.CodeUnavailable {
		t.Errorf("Do: %v", err)
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestNoProvisioner(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	conn := connect(t, s.ClientURL())
	if _, err := conn.EnsureCommands(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := newSender(t, conn, newMemory(), false).Do(t.Context(), start("s"), command.Origin{})
	if sandbox.CodeOf(err) != sandbox.CodeUnavailable || !strings.Contains(sandbox.MessageOf(err), "nothing was done") {
		t.Errorf("Do: %v", err)
	}
	stream, err := conn.JS.Stream(t.Context(), contract.CommandStream)
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; n != 0 {
		t.Errorf("%d commands were stored", n)
	}
}

func TestNoStream(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	_, err := newSender(t, connect(t, s.ClientURL()), newMemory(), true).Do(t.Context(), start("s"), command.Origin{})
	if sandbox.CodeOf(err) != sandbox.CodeUnavailable {
		t.Errorf("Do: %v", err)
	}
}

// After NATS was emptied the queue is made again while a command waits for it.
func TestStreamComes(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	sender := newSender(t, connect(t, s.ClientURL()), newMemory(), true)
	done := make(chan error, 1)
	go func() {
		_, err := sender.Do(t.Context(), start("s"), command.Origin{})
		done <- err
	}()
	startProvisioner(t, s.ClientURL(), func(_ int, d delivery) *contract.Reply { return accept(t, d.command, 1) })
	if err := <-done; err != nil {
		t.Errorf("Do: %v", err)
	}
}

// A queue that has no room says so at once: nobody waits, and nothing is stored.
func TestStreamFull(t *testing.T) {
	t.Parallel()
	for name, bound := range map[string]jetstream.StreamConfig{
		"messages": {MaxMsgs: 1},
		"bytes":    {MaxBytes: 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			conn := connect(t, s.ClientURL())
			bound.Name, bound.Subjects, bound.Discard = contract.CommandStream, []string{contract.AllCommands}, jetstream.DiscardNew
			stream, err := conn.JS.CreateStream(t.Context(), bound)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.JS.Publish(t.Context(), contract.CommandSubject(sandbox.Start, "t", "r"), make([]byte, 50)); err != nil {
				t.Fatal(err)
			}
			sender := newSender(t, conn, newMemory(), true)
			begin := time.Now()
			_, err = sender.Do(t.Context(), start("s"), command.Origin{})
			if took := time.Since(begin); took >= time.Second {
				t.Errorf("it took %s", took)
			}
			var e *sandbox.Error
			if !errors.As(err, &e) || e.Code != sandbox.CodeUnavailable || e.RetryAfter <= 0 || !strings.Contains(e.Message, "full, nothing was done") {
				t.Errorf("Do: %v", err)
			}
			if info, err := stream.Info(t.Context()); err != nil || info.State.Msgs != 1 {
				t.Errorf("%+v, %v", info, err)
			}
		})
	}
}

// A server that has too many messages to store says so with 429 (from 2.11 on). It is
// asked again, not at once; one that goes on saying so is no reason to wait for long.
func TestTheServerHasTooManyToStore(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	conn := connect(t, s.ClientURL())
	var asked atomic.Int64
	busy, err := conn.Subscribe(contract.AllCommands, func(m *nats.Msg) { // a real one cannot be made to on demand
		asked.Add(1)
		if err := m.Respond([]byte(`{"error":{"code":429,"err_code":10167,"description":"too many requests"},"stream":"COMMANDS"}`)); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	sender := newSender(t, connect(t, s.ClientURL()), newMemory(), true)
	begin := time.Now()
	_, err = sender.Do(t.Context(), start("s"), command.Origin{})
	took := time.Since(begin)
	if sandbox.CodeOf(err) != sandbox.CodeUnavailable || !strings.Contains(sandbox.MessageOf(err), "nothing was done") {
		t.Errorf("Do: %v", err)
	}
	if most := int64(took/fast.Retry) + 1; asked.Load() < 2 || asked.Load() > most || took > fast.Deadline/2 {
		t.Errorf("asked %d times in %s, want 2 to %d", asked.Load(), took, most)
	}
	asked.Store(0)
	done := make(chan error, 1)
	go func() {
		_, err := sender.Do(t.Context(), start("s"), command.Origin{})
		done <- err
	}()
	await(t, "it is asked again", func() bool { return asked.Load() > 0 })
	if err := busy.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	startProvisioner(t, s.ClientURL(), func(_ int, d delivery) *contract.Reply { return accept(t, d.command, 1) })
	if err := <-done; err != nil {
		t.Errorf("Do, once it has time: %v", err)
	}
}

// The stream's own bound on a message, below the server's.
func TestTooLargeForTheStream(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	conn := connect(t, s.ClientURL())
	_, err := conn.JS.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: contract.CommandStream, Subjects: []string{contract.AllCommands}, MaxMsgSize: 100,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newSender(t, conn, newMemory(), true).Do(t.Context(), start("s"), command.Origin{}); sandbox.CodeOf(err) != sandbox.CodeTooLarge {
		t.Errorf("Do: %v", err)
	}
}

// A subscriber that is no stream takes the command and acknowledges nothing, as
// a stream does whose acknowledgement is lost.
func TestAcknowledgementLost(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	conn := connect(t, s.ClientURL())
	ids, sent := map[string]bool{}, 0
	done := make(chan struct{})
	sub, err := conn.Subscribe(contract.AllCommands, func(m *nats.Msg) { ids[m.Header.Get(nats.MsgIdHdr)] = true; sent++ })
	if err != nil {
		t.Fatal(err)
	}
	sub.SetClosedHandler(func(string) { close(done) })
	_, err = newSender(t, conn, newMemory(), true).Do(t.Context(), start("s"), command.Origin{})
	if sandbox.CodeOf(err) != sandbox.CodeTimeout {
		t.Errorf("Do: %v: what may be stored must not be called undone", err)
	}
	if err := sub.Drain(); err != nil {
		t.Fatal(err)
	}
	<-done
	if len(ids) != 1 || ids[""] || sent < 2 {
		t.Errorf("%d messages with the ids %v, want several with one", sent, ids)
	}
}

// dumb takes commands and acknowledges nothing. It counts what was sent, by id.
type dumb struct {
	*nats.Subscription
	mu  sync.Mutex
	ids map[string]bool
}

func newDumb(t *testing.T, url string) *dumb {
	t.Helper()
	d := &dumb{ids: map[string]bool{}}
	sub, err := connect(t, url).Subscribe(contract.AllCommands, func(m *nats.Msg) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.ids[m.Header.Get(nats.MsgIdHdr)] = true
	})
	if err != nil {
		t.Fatal(err)
	}
	d.Subscription = sub
	return d
}

func (d *dumb) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.ids)
}

// A stream that acknowledges nothing for long, as one does whose disk is full: what was
// sent is of an unknown fate, what comes later is refused and not sent, and once it
// acknowledges again all goes on.
func TestASilentStreamIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	d := newDumb(t, s.ClientURL())
	sender := newSender(t, connect(t, s.ClientURL()), newMemory(), true)
	do := func() error {
		_, err := sender.Do(t.Context(), start("s"), command.Origin{})
		return err
	}
	begin, unknown, refused := time.Now(), 0, 0
	for refused == 0 {
		switch err := do(); {
		case sandbox.CodeOf(err) == sandbox.CodeTimeout && time.Since(begin) < 10*time.Second:
			unknown++
		case sandbox.CodeOf(err) == sandbox.CodeUnavailable && strings.Contains(sandbox.MessageOf(err), "acknowledges nothing now, nothing was done"):
			refused++
		default:
			t.Fatalf("after %s: %v", time.Since(begin), err)
		}
	}
	if time.Since(begin) < fast.Silent {
		t.Errorf("refused after %s of silence", time.Since(begin))
	}
	if err := d.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	if n := d.count(); n > unknown {
		t.Errorf("%d commands were sent, of %d that may be and one that is not", n, unknown)
	}
	startProvisioner(t, s.ClientURL(), func(_ int, d delivery) *contract.Reply { return accept(t, d.command, 1) })
	await(t, "it is asked again", func() bool { return do() == nil })
	for range 3 {
		if err := do(); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	}
}

// What an earlier connection was like says nothing of the queue: over a new one the
// first command goes.
func TestASilenceEndsWithItsConnection(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	d := newDumb(t, s.ClientURL())
	conn := connect(t, s.ClientURL())
	sender := newSender(t, conn, newMemory(), true)
	await(t, "it is silent", func() bool {
		_, err := sender.Do(t.Context(), start("s"), command.Origin{})
		return strings.Contains(sandbox.MessageOf(err), "acknowledges nothing now")
	})
	if err := d.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	startProvisioner(t, s.ClientURL(), func(_ int, d delivery) *contract.Reply { return accept(t, d.command, 1) })
	before := conn.Lives()
	if err := conn.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	await(t, "another connection", func() bool { return conn.Connected() && conn.Lives() > before })
	if _, err := sender.Do(t.Context(), start("s"), command.Origin{}); err != nil {
		t.Errorf("Do: %v", err)
	}
}

// A queue that is slow to acknowledge and whose commands are answered is none that is
// silent.
func TestRepliesAreAnswersOfTheQueue(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	conn := connect(t, s.ClientURL())
	p := &provisioner{nc: conn.Conn}
	seen := map[string]bool{}
	_, err := conn.Subscribe(contract.AllCommands, func(m *nats.Msg) {
		cmd, err := contract.DecodeCommand(m.Subject, m.Data)
		if err != nil {
			t.Error(err)
		}
		if seen[cmd.ID] { // once it was not acknowledged in time
			p.reply(t, delivery{cmd, m.Header}, *accept(t, cmd, 1))
		}
		seen[cmd.ID] = true
	})
	if err != nil {
		t.Fatal(err)
	}
	sender := newSender(t, connect(t, s.ClientURL()), newMemory(), true)
	for begin := time.Now(); time.Since(begin) < fast.Silent+2*fast.Probe; {
		if _, err := sender.Do(t.Context(), start("s"), command.Origin{}); err != nil {
			t.Fatalf("after %s: %v", time.Since(begin), err)
		}
	}
}

func TestReplyBeforeAcknowledgement(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	conn := connect(t, s.ClientURL())
	p := &provisioner{nc: conn.Conn}
	_, err := conn.Subscribe(contract.AllCommands, func(m *nats.Msg) {
		cmd, err := contract.DecodeCommand(m.Subject, m.Data)
		if err != nil {
			t.Error(err)
		}
		p.reply(t, delivery{cmd, m.Header}, *accept(t, cmd, 1))
	})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if _, err := newSender(t, conn, newMemory(), true).Do(t.Context(), start("s"), command.Origin{}); err != nil {
		t.Errorf("Do: %v", err)
	}
	if took := time.Since(begin); took >= fast.Ack {
		t.Errorf("it waited %s for the acknowledgement", took)
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := start("s")
	c.Spec.Environment = map[string]string{"A": strings.Repeat("\x01", 400<<10)} // six bytes each in JSON
	_, err := newSender(t, connect(t, s.ClientURL()), newMemory(), true).Do(t.Context(), c, command.Origin{})
	if sandbox.CodeOf(err) != sandbox.CodeTooLarge {
		t.Errorf("Do: %v", err)
	}
}

func TestPresence(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	conn := connect(t, s.ClientURL())
	var p command.Presence
	if !p.Present() {
		t.Error("absent before anyone was asked")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = p.Watch(ctx, conn, zap.NewNop()) }()
	await(t, "absent", func() bool { return !p.Present() })
	svc, err := connect(t, s.ClientURL()).Announce(command.Provisioner)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "present", p.Present)
	if err := svc.Stop(); err != nil {
		t.Fatal(err)
	}
	await(t, "absent again", func() bool { return !p.Present() })
	cancel()
	<-done
}

// await polls what has no event to wait for.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(10 * time.Second)
	for !is() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}
