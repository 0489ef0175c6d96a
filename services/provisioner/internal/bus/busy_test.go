package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/cluster"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/command"
)

// noTime is Kubernetes' word; nothing of the attempt is left where it is Busy.
var (
	noTime = &cluster.Busy{After: 3 * time.Second, Undone: true}
	idle   = &command.Busy{After: 3 * time.Second, Err: noTime}
)

// busyFirst fails with err at the first run of each command, and is done after.
func busyFirst(err error) *runner {
	seen := map[string]bool{} // one worker
	return newRunner(func(ctx context.Context, c sandbox.Command) (command.Outcome, error) {
		if !seen[c.ID] {
			seen[c.ID] = true
			return command.Outcome{}, err
		}
		return done(ctx, c)
	})
}

// A client whose command finds Kubernetes busy is told so at once, and the
// command is gone before: nothing will be done of it.
func TestBusyIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := busyFirst(idle)
	b := w.work(r, 1)
	w.until("it works", b.Ready)
	s := w.send("s")
	begin := time.Now()
	got := w.reply(s)
	if took := time.Since(begin); took > time.Second {
		t.Errorf("it took %s", took)
	}
	if got.CommandID != s.ID || got.Code != sandbox.CodeUnavailable || got.RetryAfterSeconds != 3 || got.View != nil ||
		got.Message != "Kubernetes is busy now, nothing was done, try again" {
		t.Errorf("%+v", got)
	}
	stream, err := w.conn.JS.Stream(t.Context(), contract.CommandStream)
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; n != 0 {
		t.Errorf("it was told with %d commands in the queue", n)
	}
	w.reply(w.send("last")) // busy too
	if n := len(r.all()); n != 2 {
		t.Errorf("%d runs", n)
	}
	if n := w.letters(); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// What may have been begun, by this attempt or one before it, is tried again, not
// before Kubernetes wants to be asked.
func TestBusyIsTriedAgain(t *testing.T) {
	t.Parallel()
	c := start("s", "a-command")
	reconcile := sandbox.Command{ID: "b", Verb: sandbox.Reconcile, Tenant: tenant, SessionID: "s", RuntimeID: runtimeID, Generation: 4, RecordUID: "u"}
	clock := sandbox.Command{ID: "c", Verb: sandbox.Pause, Tenant: tenant, SessionID: "s", RuntimeID: runtimeID, Generation: 4, RecordUID: "u"}
	for name, tt := range map[string]struct {
		command sandbox.Command
		err     error
		replyTo string
	}{
		"something is begun":  {c, fmt.Errorf("create pod: %w", noTime), contract.ReplySubject(inbox, c.ID)},
		"a watcher's":         {reconcile, idle, ""},
		"a clock's":           {clock, idle, contract.ReplySubject(inbox, clock.ID)},
		"nobody can be told":  {c, idle, ""},
		"at a wrong subject":  {c, idle, "$KV.sandboxes.x"},
		"another's busy text": {c, errors.New(idle.Error()), contract.ReplySubject(inbox, c.ID)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r := busyFirst(tt.err)
			b := w.work(r, 1)
			w.until("it works", b.Ready)
			subject, body, err := contract.EncodeCommand(tt.command)
			if err != nil {
				t.Fatal(err)
			}
			w.sendRaw(tt.command, subject, body, tt.replyTo)
			first, second := wait(t, "the first run", r.told), wait(t, "the second", r.told)
			if first.sequence != second.sequence {
				t.Errorf("%+v, %+v", first, second)
			}
			least := 3 * time.Second
			if name == "another's busy text" {
				least = 500 * time.Millisecond
			}
			if after := second.at.Sub(first.at); after < least-50*time.Millisecond {
				t.Errorf("again after %s", after)
			}
			w.empty()
		})
	}
}

// A later delivery says nothing of the earlier ones: those may have begun it.
func TestBusyAtTheSecondDelivery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	runs := 0
	r := newRunner(func(ctx context.Context, c sandbox.Command) (command.Outcome, error) {
		switch runs++; runs {
		case 1:
			return command.Outcome{}, errors.New("it is begun, and the API server goes")
		case 2:
			return command.Outcome{}, &command.Busy{After: time.Second, Err: noTime}
		}
		return done(ctx, c)
	})
	b := w.work(r, 1)
	w.until("it works", b.Ready)
	if got := w.reply(w.send("s")); got.Code != "" || got.View == nil {
		t.Errorf("%+v", got)
	}
	if n := len(r.all()); n != 3 {
		t.Errorf("%d runs", n)
	}
}

// A worker that is slow may not have had the command for itself all the time.
func TestBusyTooLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	runs := 0
	r := newRunner(func(ctx context.Context, c sandbox.Command) (command.Outcome, error) {
		if runs++; runs > 1 {
			return done(ctx, c)
		}
		<-time.After(natsx.AckWait)
		return command.Outcome{}, &command.Busy{After: time.Second, Err: noTime}
	})
	b := w.work(r, 1)
	w.until("it works", b.Ready)
	if got := w.reply(w.send("s")); got.Code != "" || got.View == nil {
		t.Errorf("%+v", got)
	}
}

// A server that was killed may have forgotten that a command was delivered: what
// it had stored before is not called undone.
func TestBusyAfterARestartOfNATS(t *testing.T) {
	t.Parallel()
	soon := &command.Busy{After: time.Second, Err: noTime}
	t.Run("before the bus came", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.send("s") // another may have had it
		w.srv.Stop()
		w.srv.Start()
		r := busyFirst(soon)
		w.work(r, 1)
		wait(t, "the first run", r.told)
		wait(t, "the second", r.told)
		w.empty()
	})
	t.Run("while it worked", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		restarted := make(chan struct{})
		r := busyFirst(nil)
		runs := 0
		r.run = func(ctx context.Context, c sandbox.Command) (command.Outcome, error) {
			if runs++; runs > 1 {
				return done(ctx, c)
			}
			<-restarted
			return command.Outcome{}, soon
		}
		b := w.work(r, 1)
		w.until("it works", b.Ready)
		s := w.send("s")
		wait(t, "the first run", r.told)
		w.srv.Stop()
		w.srv.Start()
		w.until("the bus's connection is there again", b.Reconnected)
		close(restarted)
		if again := wait(t, "the second run", r.told); again.sequence != s.sequence {
			t.Errorf("%+v", again)
		}
		w.empty()
	})
}

// What is stored after the connection was made again is told again.
func TestBusyIsToldAfterARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := newRunner(func(context.Context, sandbox.Command) (command.Outcome, error) { return command.Outcome{}, idle })
	b := w.work(r, 1)
	w.until("it works", b.Ready)
	w.reply(w.send("before"))
	w.srv.Stop()
	w.srv.Start()
	w.until("both connections are there again", func() bool { return b.Reconnected() && w.conn.IsConnected() })
	for range 2 { // the first may be what shows that there was a restart
		s := w.send("s")
		if _, err := s.replies.NextMsg(time.Second); err == nil {
			return
		}
	}
	t.Error("nobody is told any more")
}
