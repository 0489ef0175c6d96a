package bus_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/command"
)

// keep copies the store of a server that stands still meanwhile.
func (w *world) keep() (older string) {
	w.t.Helper()
	w.away(func() { older = w.srv.Keep() })
	return older
}

// back puts an older store in place of the server's.
func (w *world) back(older string) {
	w.t.Helper()
	w.away(func() { w.srv.Back(older) })
}

// away does what stops and starts the server, and waits until the connection is another:
// one that has not noticed yet says that it is connected.
func (w *world) away(do func()) {
	w.t.Helper()
	before := w.conn.Stats().Reconnects
	do()
	w.until("a new connection", func() bool { return w.conn.Stats().Reconnects > before && w.conn.IsConnected() })
}

func (w *world) last() uint64 {
	s, err := w.conn.JS.Stream(w.t.Context(), contract.CommandStream)
	if err != nil {
		return 0
	}
	return s.CachedInfo().State.LastSeq
}

// A provisioner that was there before an older store came back lets the queue go
// on above all that it gave out, before any command comes.
func TestAnOlderQueueGoesOnAbove(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	older := w.keep()
	r := newRunner(done)
	b := w.work(r, 2)
	var given uint64
	for range 20 {
		s := w.send("before")
		w.reply(s)
		given = s.sequence
	}
	w.back(older)
	w.until("the queue is above what it gave out", func() bool { return w.last() > given })
	w.until("the bus works", b.Ready)
	s := w.send("after")
	if got := w.reply(s); got.View == nil || s.sequence <= given {
		t.Errorf("at %d after %d: %+v", s.sequence, given, got)
	}
}

// One that was not there learns of it by a record's fence. The command that
// brought it to light was overtaken by nothing. A start is told so when the queue
// is above the fence, and its gateway sends it again; a pause is told that nothing
// was done. What comes next is done.
func TestAFenceShowsThatTheQueueIsOlder(t *testing.T) {
	t.Parallel()
	for verb, code := range map[sandbox.Verb]sandbox.Code{sandbox.Start: sandbox.CodeOvertaken, sandbox.Pause: sandbox.CodeUnavailable} {
		t.Run(string(verb), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var fence atomic.Uint64
			fence.Store(w.last() + 1_000_000)
			w.work(&fenced{fence: &fence, runner: newRunner(done)}, 2)
			w.send("first") // so that the stream is known as it is
			w.empty()
			c := start("again", w.id())
			if c.Verb = verb; verb != sandbox.Start {
				c.Spec, c.RuntimeID = nil, runtimeID
			}
			if got := w.reply(w.sendCommand(c)); got.Code != code {
				t.Errorf("behind its fence it was told %+v", got)
			}
			w.until("the next of the queue is above the fence", func() bool { return w.last() >= fence.Load() })
			c.ID = w.id()
			if got := w.reply(w.sendCommand(c)); got.View == nil {
				t.Errorf("above its fence it was told %+v", got)
			}
		})
	}
}

// One that was overtaken by a command of this stream is told so, and the stream
// stays as it is.
func TestAFenceOfThisQueueChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var fence atomic.Uint64
	r := &fenced{fence: &fence, runner: newRunner(done)}
	s := w.send("earlier") // in the queue before anybody works
	last := w.send("first").sequence
	fence.Store(last)
	w.work(r, 1)
	if got := w.reply(s); got.Code != sandbox.CodeOvertaken {
		t.Errorf("%+v", got)
	}
	w.empty()
	if now := w.last(); now != last {
		t.Errorf("the stream went from %d to %d", last, now)
	}
}

// fenced is a runner of records that all have the same fence.
type fenced struct {
	*runner
	fence *atomic.Uint64
}

func (f *fenced) Run(ctx context.Context, c sandbox.Command, seq uint64) (command.Outcome, error) {
	if fence := f.fence.Load(); seq < fence && c.SessionID != "first" {
		return command.Outcome{Fence: fence, Err: sandbox.Errorf(sandbox.CodeOvertaken, "overtaken by a later command")}, nil
	}
	return f.runner.Run(ctx, c, seq)
}
