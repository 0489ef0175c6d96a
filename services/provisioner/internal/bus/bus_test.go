package bus_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/command"
)

func TestReply(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := newRunner(func(ctx context.Context, c sandbox.Command) (command.Outcome, error) {
		switch c.SessionID {
		case "refused":
			return command.Outcome{View: &sandbox.View{}, Err: sandbox.Wrap(errors.New("inner text"), sandbox.CodeQuota, "no room")}, nil
		case "odd":
			return command.Outcome{Err: errors.New("inner text")}, nil
		}
		return done(ctx, c)
	})
	w.work(r, 4)
	for session, want := range map[string]contract.Reply{
		"accepted": {View: &sandbox.View{RuntimeID: runtimeID}, Revision: 7},
		"refused":  {Code: sandbox.CodeQuota, Message: "no room"},
		"odd":      {Code: sandbox.CodeInternal, Message: "internal error"},
	} {
		s := w.send(session)
		got := w.reply(s)
		if got.CommandID != s.ID || got.Code != want.Code || got.Message != want.Message || got.Revision != want.Revision || (got.View == nil) != (want.View == nil) {
			t.Errorf("%s: %+v", session, got)
		}
		if want.View != nil && (got.View.RuntimeID != runtimeID || got.View.SessionID != session) {
			t.Errorf("%s: %+v", session, got.View)
		}
	}
	w.empty()
	if n := w.letters(); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// A message cannot make a provisioner write elsewhere; the command is done all
// the same.
func TestReplySubjects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := newRunner(done)
	w.work(r, 4)
	all, err := w.conn.SubscribeSync(">")
	if err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{
		"none": "", "an event": contract.EventSubject(tenant, runtimeID, sandbox.EventReady), "a view": "$KV.sandboxes.x",
		"a wildcard": "sandbar.reply.v1.gateway0.*", "too long": "sandbar.reply.v1.gateway0.a.b", "an inbox": "_INBOX.x.y",
		"a command": contract.CommandSubject(sandbox.Stop, tenant, sandbox.RecordName(tenant, "x")),
	} {
		c := start(name, w.id())
		subject, body, err := contract.EncodeCommand(c)
		if err != nil {
			t.Fatal(err)
		}
		w.sendRaw(c, subject, body, to)
		if got := wait(t, "the command "+name, r.told); got.command.SessionID != name {
			t.Errorf("%+v", got)
		}
	}
	w.empty()
	w.reply(w.send("last")) // after it nothing of the others is on its way
	for {
		m, err := all.NextMsg(100 * time.Millisecond)
		if err != nil {
			break
		}
		if strings.Contains(string(m.Data), `"revision":7`) && !contract.ValidReplySubject(m.Subject) {
			t.Errorf("a reply at %s", m.Subject)
		}
		if strings.HasPrefix(m.Subject, "sandbar.event") || m.Subject == "$KV.sandboxes.x" {
			t.Errorf("%s: %s", m.Subject, m.Data)
		}
	}
	if n := len(r.all()); n != 8 {
		t.Errorf("%d runs", n)
	}
}

// The watcher's commands get no reply, done or refused.
func TestSilent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := newRunner(func(context.Context, sandbox.Command) (command.Outcome, error) {
		return command.Outcome{Silent: true}, nil
	})
	w.work(r, 1)
	s := w.sendCommand(sandbox.Command{ID: w.id(), Verb: sandbox.Reconcile, Tenant: tenant, SessionID: "s", RuntimeID: runtimeID, Generation: 4, RecordUID: "u"})
	if got := wait(t, "the command", r.told); got.sequence != s.sequence || got.command.Generation != 4 {
		t.Errorf("%+v", got)
	}
	w.empty()
	if m, err := s.replies.NextMsg(50 * time.Millisecond); err == nil {
		t.Errorf("a reply: %s", m.Data)
	}
}

func TestDeadlineIsCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := newRunner(done)
	w.work(r, 1)
	for name, tt := range map[string]struct {
		deadline time.Time
		cut      bool
	}{
		"none":   {time.Time{}, true},
		"later":  {time.Now().Add(time.Hour), true},
		"sooner": {time.Now().Add(5 * time.Second).Truncate(time.Second), false},
		"passed": {time.Now().Add(-time.Hour).Truncate(time.Second), false},
	} {
		c := start(name, w.id())
		c.Deadline = tt.deadline.UTC()
		w.sendCommand(c)
		got := wait(t, name, r.told).command.Deadline
		if !tt.cut && !got.Equal(tt.deadline) || tt.cut && (time.Until(got) > sandbox.MaxDeadline || time.Until(got) < sandbox.MaxDeadline-patience) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := newRunner(done)
	w.work(r, 4)
	record := sandbox.RecordName(tenant, "s")
	whole := func(change func(*sandbox.Command)) []byte {
		c := start("s", "inner-id")
		change(&c)
		_, body, err := contract.EncodeCommand(c)
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	for name, tt := range map[string]struct {
		subject string
		body    []byte
		letter  string // its subject
	}{
		"no JSON":          {contract.CommandSubject(sandbox.Stop, tenant, record), []byte(secret), contract.DeadLetterSubject(sandbox.Stop, tenant, record)},
		"another tenant":   {contract.CommandSubject(sandbox.Start, "other", sandbox.RecordName("other", "s")), whole(func(*sandbox.Command) {}), contract.DeadLetterSubject(sandbox.Start, "other", sandbox.RecordName("other", "s"))},
		"another session":  {contract.CommandSubject(sandbox.Start, tenant, sandbox.RecordName(tenant, "t")), whole(func(*sandbox.Command) {}), contract.DeadLetterSubject(sandbox.Start, tenant, sandbox.RecordName(tenant, "t"))},
		"a wrong spec":     {contract.CommandSubject(sandbox.Start, tenant, record), whole(func(c *sandbox.Command) { c.Spec.ResourceFactor = 0 }), contract.DeadLetterSubject(sandbox.Start, tenant, record)},
		"no verb":          {"sandbar.command.v1.explode." + tenant + "." + sandbox.RecordName(tenant, "v"), whole(func(*sandbox.Command) {}), contract.DeadLetterSubject(sandbox.Reconcile, sandbox.DefaultTenant, sandbox.RecordName("", ""))},
		"nothing to stop":  {contract.CommandSubject(sandbox.Pause, tenant, record), []byte(`{"id":"x","verb":"pause","tenant":"acme","session_id":"s"}`), contract.DeadLetterSubject(sandbox.Pause, tenant, record)},
		"too many levels":  {"sandbar.command.v1.start.a.b.c", nil, contract.DeadLetterSubject(sandbox.Reconcile, sandbox.DefaultTenant, sandbox.RecordName("", ""))},
		"an empty message": {contract.CommandSubject(sandbox.Resume, tenant, record), nil, contract.DeadLetterSubject(sandbox.Resume, tenant, record)},
	} {
		s := w.sendRaw(sandbox.Command{ID: w.id()}, tt.subject, tt.body, contract.ReplySubject(inbox, "command-x"))
		var letter contract.DeadLetter
		var raw []byte
		w.until(name, func() bool { letter, raw = w.letter(tt.letter); return letter.Sequence == s.sequence })
		if letter.Delivered != 1 || letter.Error == "" || strings.Contains(string(raw), secret) || strings.Contains(string(raw), "image\"") {
			t.Errorf("%s: %s", name, raw)
		}
	}
	w.empty()
	if n := len(r.all()); n != 0 {
		t.Errorf("%d of them were run", n)
	}
}

func TestMalformedIsAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.work(newRunner(done), 1)
	c := sandbox.Command{ID: w.id()}
	s := w.sendRaw(c, contract.CommandSubject(sandbox.Stop, tenant, sandbox.RecordName(tenant, "s")), []byte("{"), contract.ReplySubject(inbox, c.ID))
	if got := w.reply(s); got.Code != sandbox.CodeTimeout || got.View != nil {
		t.Errorf("%+v", got)
	}
}

// A command that fails is tried again, later each time, five times in all; the
// sixth delivery gives it up before any work.
func TestRetriesThenDeadLetter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := newRunner(func(context.Context, sandbox.Command) (command.Outcome, error) {
		return command.Outcome{}, errors.New("the API server does not answer")
	})
	w.work(r, 2)
	s := w.send("s")
	got := w.reply(s)
	if got.Code != sandbox.CodeTimeout || got.CommandID != s.ID || got.View != nil || strings.Contains(got.Message, "API server") {
		t.Errorf("%+v", got)
	}
	subject := contract.DeadLetterSubject(sandbox.Start, tenant, sandbox.RecordName(tenant, "s"))
	letter, raw := w.letter(subject)
	if letter.CommandID != s.ID || letter.Delivered != 6 || letter.Sequence != s.sequence || letter.Verb != sandbox.Start || letter.Tenant != tenant || letter.Record != sandbox.RecordName(tenant, "s") {
		t.Errorf("%+v", letter)
	}
	for _, word := range []string{secret, "TOKEN", "environment", `"image"`, "spec"} {
		if strings.Contains(string(raw), word) {
			t.Errorf("the letter holds %s: %s", word, raw)
		}
	}
	w.empty()
	runs := r.all()
	if len(runs) != 5 {
		t.Fatalf("%d runs", len(runs))
	}
	for i := 1; i < len(runs); i++ {
		if gap, least := runs[i].at.Sub(runs[i-1].at), time.Duration(i)*500*time.Millisecond; gap < least-50*time.Millisecond {
			t.Errorf("try %d came after %v, want at least %v", i+1, gap, least)
		}
		if runs[i].sequence != s.sequence {
			t.Errorf("sequence %d became %d", s.sequence, runs[i].sequence)
		}
	}
	if n := w.letters(); n != 1 {
		t.Errorf("%d dead letters", n)
	}
}

// The reply is out, and what follows it fails: the sender has its answer, the
// command comes again.
func TestFollowFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := newRunner(done)
	var mu sync.Mutex
	follows := 0
	r.follow = func(context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		if follows++; follows == 1 {
			return errors.New("the API server does not answer")
		}
		return nil
	}
	w.work(r, 1)
	s := w.send("s")
	for range 2 {
		if got := w.reply(s); got.Code != "" || got.View == nil {
			t.Errorf("%+v", got)
		}
	}
	w.empty()
	if n := len(r.all()); n != 2 {
		t.Errorf("%d runs", n)
	}
}

// A command that takes longer than AckWait stays with its worker: it says that it
// lives.
func TestProgress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const long = 5 * time.Second
	if long < natsx.AckWait+time.Second {
		t.Fatal("this shows nothing")
	}
	work := func(ctx context.Context, c sandbox.Command) (command.Outcome, error) {
		select {
		case <-time.After(long):
			return done(ctx, c)
		case <-ctx.Done():
			return command.Outcome{}, ctx.Err()
		}
	}
	a, b := newRunner(work), newRunner(work)
	w.work(a, 2)
	w.work(b, 2)
	s := w.send("s")
	if got := w.reply(s); got.View == nil {
		t.Errorf("%+v", got)
	}
	w.empty()
	if n := len(a.all()) + len(b.all()); n != 1 {
		t.Errorf("it was run %d times", n)
	}
}

// An attempt has its own end.
func TestAttemptIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	left := make(chan time.Duration, 1)
	w.work(newRunner(func(ctx context.Context, c sandbox.Command) (command.Outcome, error) {
		end, ok := ctx.Deadline()
		if !ok {
			end = time.Now().Add(time.Hour)
		}
		left <- time.Until(end)
		return done(ctx, c)
	}), 1)
	w.send("s")
	if d := wait(t, "the command", left); d > sandbox.LongestAttempt || d < sandbox.LongestAttempt-5*time.Second {
		t.Errorf("%v", d)
	}
	w.empty()
}

// Each worker asks for one command. A bus that took more than it can work on
// would leave the other without.
func TestTwoBusesShare(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const each, commands = 2, 20
	release := make(chan struct{})
	begun := make(chan string, commands)
	slow := func(name string) *runner {
		return newRunner(func(ctx context.Context, c sandbox.Command) (command.Outcome, error) {
			begun <- name
			select {
			case <-release:
				return done(ctx, c)
			case <-ctx.Done():
				return command.Outcome{}, ctx.Err()
			}
		})
	}
	a, b := slow("a"), slow("b")
	var sents []sent
	for range commands {
		sents = append(sents, w.send(w.id()))
	}
	w.work(a, each)
	w.work(b, each)
	busy := map[string]int{}
	for range 2 * each { // none is done until each worker of both has one
		busy[wait(t, "a busy worker", begun)]++
	}
	if busy["a"] != each || busy["b"] != each {
		t.Errorf("%v", busy)
	}
	if info := w.consumer(); info.NumAckPending != 2*each || info.NumPending != commands-2*each {
		t.Errorf("%d are handed out, %d wait", info.NumAckPending, info.NumPending)
	}
	close(release)
	for _, s := range sents {
		if got := w.reply(s); got.CommandID != s.ID || got.View == nil {
			t.Errorf("%+v", got)
		}
	}
	w.empty()
	if na, nb := len(a.all()), len(b.all()); na+nb != commands || na == 0 || nb == 0 {
		t.Errorf("%d and %d", na, nb)
	}
}

// The stream goes under the bus, and with it the consumer. It makes them again,
// with higher sequences, and works on.
func TestStreamDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.work(newRunner(done), 2)
	first := w.send("before")
	w.reply(first)
	w.empty()
	if err := w.conn.JS.DeleteStream(t.Context(), contract.CommandStream); err != nil {
		t.Fatal(err)
	}
	w.until("a new stream", func() bool {
		_, err := w.conn.JS.Stream(t.Context(), contract.CommandStream)
		return err == nil && b.Ready()
	})
	second := w.send("after")
	if got := w.reply(second); got.View == nil {
		t.Errorf("%+v", got)
	}
	if second.sequence <= first.sequence {
		t.Errorf("sequence %d after %d", second.sequence, first.sequence)
	}
	w.empty()
}

// The server goes with its store and comes back empty.
func TestServerWiped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.work(newRunner(done), 2)
	first := w.send("before")
	w.reply(first)
	w.srv.Wipe()
	w.until("the queue", func() bool {
		_, err := w.conn.JS.Stream(t.Context(), contract.CommandStream)
		return err == nil && b.Ready()
	})
	second := w.send("after")
	if got := w.reply(second); got.View == nil || second.sequence <= first.sequence {
		t.Errorf("%+v, sequence %d after %d", got, second.sequence, first.sequence)
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.work(newRunner(done), 1)
	w.until("the bus", b.Ready)
	b.stop(t)
	if b.Ready() {
		t.Error("ready after its end")
	}
}

// A stop takes nothing new, and finishes what has begun: reply, ack and all.
func TestStopFinishes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release := make(chan struct{})
	r := newRunner(func(ctx context.Context, c sandbox.Command) (command.Outcome, error) {
		select {
		case <-release:
			return done(ctx, c)
		case <-ctx.Done():
			return command.Outcome{}, ctx.Err()
		}
	})
	b := w.work(r, 3)
	s := w.send("s")
	wait(t, "the command", r.told)
	stopped := time.Now()
	b.cancel()
	// The idle workers take their requests back: a command that comes to one now
	// would wait for AckWait.
	w.until("no request", func() bool { return w.consumer().NumWaiting == 0 })
	if d := time.Since(stopped); d > 3*time.Second {
		t.Errorf("requests stood for %v after the stop", d)
	}
	next := w.send("next") // for another one
	if info := w.consumer(); info.NumAckPending != 1 || info.NumPending != 1 {
		t.Errorf("%d are handed out, %d wait", info.NumAckPending, info.NumPending)
	}
	select {
	case err := <-b.ended:
		t.Fatalf("it left its command: %v", err)
	case <-time.After(200 * time.Millisecond): // what must not happen cannot be waited for
	}
	close(release)
	if err := wait(t, "the end", b.ended); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(b.ended)
	if got := w.reply(s); got.View == nil {
		t.Errorf("%+v", got)
	}
	w.until("the ack", func() bool {
		st, err := w.conn.JS.Stream(t.Context(), contract.CommandStream)
		return err == nil && st.CachedInfo().State.Msgs == 1
	})
	if n := len(r.all()); n != 1 {
		t.Errorf("%d runs", n)
	}
	other := newRunner(done)
	w.work(other, 1)
	if got := w.reply(next); got.View == nil {
		t.Errorf("%+v", got)
	}
	w.empty()
}

// The worker died between its work and the ack: another finishes, and the same
// sender gets its answer.
func TestAnotherFinishes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cons, err := w.conn.EnsureCommands(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := w.send("s")
	batch, err := cons.Fetch(1) // and nothing after it, as a process that is killed
	if err != nil {
		t.Fatal(err)
	}
	for range batch.Messages() {
	}
	r := newRunner(done)
	w.work(r, 1)
	if got := w.reply(s); got.View == nil || got.CommandID != s.ID {
		t.Errorf("%+v", got)
	}
	w.empty()
}

// After the time for which the stream knows ids, a command that is published again
// is stored again. It has a sequence of its own, and the rest is as with any other
// (TestVerbs).
func TestTheSameIDAfterItsWindow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stream, err := w.conn.JS.Stream(t.Context(), contract.CommandStream)
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	cfg.Duplicates = 100 * time.Millisecond // the least there is
	if _, err := w.conn.JS.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	first := w.send("s")
	var again sent
	w.until("it to be stored again", func() bool {
		again = w.sendCommand(first.Command)
		return again.sequence != first.sequence
	})
	r := newRunner(done)
	w.work(r, 1)
	for _, s := range []sent{first, again} {
		if got := w.reply(s); got.View == nil || got.CommandID != first.ID {
			t.Errorf("%+v", got)
		}
	}
	w.empty()
	if all := r.all(); len(all) != 2 || all[0].sequence != first.sequence || all[1].sequence != again.sequence {
		t.Errorf("%+v", all)
	}
}

// A command stays in the queue while anything of it is left to do: who dies before
// that is followed by another.
func TestTheAckComesLast(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	held := func(ctx context.Context) error {
		s, err := w.conn.JS.Stream(ctx, contract.CommandStream)
		if err == nil && s.CachedInfo().State.Msgs != 1 {
			t.Error("the command is gone from the queue before it is done")
		}
		return err
	}
	r := newRunner(func(ctx context.Context, c sandbox.Command) (command.Outcome, error) {
		if err := held(ctx); err != nil {
			return command.Outcome{}, err
		}
		return done(ctx, c)
	})
	r.follow = held
	w.work(r, 1)
	if got := w.reply(w.send("s")); got.View == nil {
		t.Errorf("%+v", got)
	}
	w.empty()
}
