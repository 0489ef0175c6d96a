package command_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
	"github.com/sandbar-io/sandbar/services/gateway/internal/command"
)

func TestDoIsAnswered(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p := startProvisioner(t, s.ClientURL(), func(_ int, d delivery) *contract.Reply { return accept(t, d.command, 1) })
	mem := newMemory()
	begin := time.Now()
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	v, err := newSender(t, connect(t, s.ClientURL()), mem, true).
		Do(t.Context(), start("s"), command.Origin{RequestID: "req-1", Trace: trace})
	if err != nil {
		t.Fatal(err)
	}
	if v.RuntimeID != runtimeID || v.SessionKey != "key-s" {
		t.Errorf("view %+v", v)
	}
	if got := mem.mem.Session("t", "s"); got == nil || got.SessionKey != "key-s" {
		t.Errorf("memory holds %+v before the caller is answered", got)
	}
	d := p.deliveries()[0]
	if left := d.command.Deadline.Sub(begin); left < fast.Deadline || left > fast.Deadline+time.Second {
		t.Errorf("deadline after %s", left)
	}
	for header, want := range map[string]string{
		nats.MsgIdHdr: d.command.ID, contract.HeaderRequestID: "req-1", contract.HeaderTrace: trace,
	} {
		if got := d.header.Get(header); got != want {
			t.Errorf("header %s is %q, want %q", header, got, want)
		}
	}
}

func TestDoByReplies(t *testing.T) {
	t.Parallel()
	overtaken := func(_ int, d delivery) *contract.Reply { return refuse(d.command, sandbox.CodeOvertaken) }
	overtakenOnce := func(n int, d delivery) *contract.Reply {
		if n == 0 {
			return refuse(d.command, sandbox.CodeOvertaken)
		}
		return accept(t, d.command, 7)
	}
	another := func(_ int, d delivery) *contract.Reply {
		c := d.command
		c.SessionID = "another"
		return accept(t, c, 1)
	}
	for name, c := range map[string]struct {
		cmd    sandbox.Command
		script script
		want   sandbox.Code
		sent   int
	}{
		"refused":                {change(sandbox.Pause, "s"), func(_ int, d delivery) *contract.Reply { return refuse(d.command, sandbox.CodeQuota) }, sandbox.CodeQuota, 1},
		"a start overtaken once": {start("s"), overtakenOnce, "", 2},
		"a resume overtaken":     {change(sandbox.Resume, "s"), overtakenOnce, "", 2},
		"overtaken twice":        {start("s"), overtaken, sandbox.CodeOvertaken, 2},
		"a pause overtaken":      {change(sandbox.Pause, "s"), overtakenOnce, sandbox.CodeOvertaken, 1},
		"a stop overtaken":       {change(sandbox.Stop, "s"), overtakenOnce, sandbox.CodeOvertaken, 1},
		"another's view":         {start("s"), another, sandbox.CodeInternal, 1},
		"another's id":           {start("s"), func(_ int, d delivery) *contract.Reply { r := accept(t, d.command, 1); r.CommandID = "x"; return r }, sandbox.CodeInternal, 1},
		"no view":                {start("s"), func(_ int, d delivery) *contract.Reply { return &contract.Reply{CommandID: d.command.ID} }, sandbox.CodeInternal, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			p := startProvisioner(t, s.ClientURL(), c.script)
			_, err := newSender(t, connect(t, s.ClientURL()), newMemory(), true).Do(t.Context(), c.cmd, command.Origin{})
			if sandbox.CodeOf(err) != c.want {
				t.Errorf("Do: %v, want %q", err, c.want)
			}
			ids := map[string]bool{}
			for _, d := range p.deliveries() {
				ids[d.command.ID] = true
			}
			if len(ids) != c.sent {
				t.Errorf("%d commands were sent, want %d", len(ids), c.sent)
			}
		})
	}
}

func TestDoWithoutReply(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var id string // of the command that nobody answered
	taken := func(m *views.Memory) error {
		mu.Lock()
		defer mu.Unlock()
		c := start("s")
		c.ID = id
		m.Merge(view(c, 3), 3)
		return nil
	}
	unconfirmed := func(*views.Memory) error { return sandbox.Errorf(sandbox.CodeUnavailable, "no") }
	for name, c := range map[string]struct {
		index func(*views.Memory) error
		want  sandbox.Code
	}{
		"the view shows it":         {taken, ""},
		"the view does not show it": {nil, sandbox.CodeTimeout},
		"no view can be confirmed":  {unconfirmed, sandbox.CodeTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t)
			startProvisioner(t, s.ClientURL(), func(_ int, d delivery) *contract.Reply {
				mu.Lock()
				defer mu.Unlock()
				id = d.command.ID
				return nil
			})
			mem := newMemory()
			mem.index = c.index
			v, err := newSender(t, connect(t, s.ClientURL()), mem, true).Do(t.Context(), start("s"), command.Origin{})
			if sandbox.CodeOf(err) != c.want || (v != nil) != (c.want == "") {
				t.Errorf("Do: %v, %v, want %q", v, err, c.want)
			}
			if err != nil && !strings.Contains(sandbox.MessageOf(err), "unknown") {
				t.Errorf("the caller is told %q", sandbox.MessageOf(err))
			}
		})
	}
}

// A reply may be older than what the watch brought meanwhile.
func TestDoWithNewerMemory(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		generation int64
		want       sandbox.Status
	}{
		"the same change, further on": {5, sandbox.StatusRunning},
		"another's later change":      {6, sandbox.StatusStarting},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			mem := newMemory()
			startProvisioner(t, s.ClientURL(), func(_ int, d delivery) *contract.Reply {
				newer := view(d.command, c.generation)
				newer.Order, newer.Status = 9, sandbox.StatusRunning
				mem.mem.Merge(newer, 9)
				return accept(t, d.command, 5)
			})
			v, err := newSender(t, connect(t, s.ClientURL()), mem, true).Do(t.Context(), start("s"), command.Origin{})
			if err != nil || v.Status != c.want {
				t.Errorf("Do: %+v, %v, want status %s", v, err, c.want)
			}
			if got := mem.mem.Session("t", "s"); got.Order != 9 {
				t.Error("memory went back")
			}
		})
	}
}

// Replies that come late or twice are nobody's, and harm nobody.
func TestRepliesLateAndTwice(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p := startProvisioner(t, s.ClientURL(), func(n int, d delivery) *contract.Reply {
		if n == 0 {
			return nil
		}
		return accept(t, d.command, 2)
	})
	sender := newSender(t, connect(t, s.ClientURL()), newMemory(), true)
	if _, err := sender.Do(t.Context(), change(sandbox.Pause, "s"), command.Origin{}); sandbox.CodeOf(err) != sandbox.CodeTimeout {
		t.Fatalf("Do: %v", err)
	}
	first := p.deliveries()[0]
	p.reply(t, first, *accept(t, first.command, 1))
	p.reply(t, first, *accept(t, first.command, 1))
	v, err := sender.Do(t.Context(), change(sandbox.Pause, "s"), command.Origin{})
	if err != nil || v.Generation != 2 {
		t.Errorf("Do: %+v, %v", v, err)
	}
}

func TestDoAtOnce(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	startProvisioner(t, s.ClientURL(), func(_ int, d delivery) *contract.Reply { return accept(t, d.command, 1) })
	sender := newSender(t, connect(t, s.ClientURL()), newMemory(), true)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			session := fmt.Sprintf("s-%d", i)
			v, err := sender.Do(t.Context(), start(session), command.Origin{})
			if err != nil || v.SessionID != session {
				t.Errorf("%s got %+v, %v", session, v, err)
			}
		})
	}
	wg.Wait()
}

// What overtook a start has made a sandbox, or ended one: the second attempt's session
// is not called fresh.
func TestWhatWasOvertakenIsNotFresh(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	p := startProvisioner(t, srv.ClientURL(), func(n int, d delivery) *contract.Reply {
		if n == 0 {
			return refuse(d.command, sandbox.CodeOvertaken)
		}
		return accept(t, d.command, 1)
	})
	c := start("s")
	c.Fresh = true
	if _, err := newSender(t, connect(t, srv.ClientURL()), newMemory(), true).Do(t.Context(), c, command.Origin{}); err != nil {
		t.Fatal(err)
	}
	if all := p.deliveries(); len(all) != 2 || !all[0].command.Fresh || all[1].command.Fresh {
		t.Errorf("%+v", all)
	}
}
