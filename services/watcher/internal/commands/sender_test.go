package commands_test

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/watcher/internal/commands"
	"github.com/sandbar-io/sandbar/services/watcher/internal/meter"
	"github.com/sandbar-io/sandbar/services/watcher/internal/testbed"
)

func no() bool { return false }

func TestTwoWatchersSendOneCommand(t *testing.T) {
	t.Parallel()
	c := testbed.NewServer(t).Ready()
	m := meter.New(prometheus.NewRegistry(), no, no)
	one, two := commands.New(c.JS, m, zap.NewNop()), commands.New(c.JS, m, zap.NewNop())
	cmd := sandbox.Command{
		Verb: sandbox.Reconcile, Tenant: "acme", SessionID: "s", RuntimeID: sandbox.NewRuntimeID(), Generation: 7, RecordUID: "u",
	}
	purge, pod := cmd, cmd
	purge.Verb, pod.PodUID = sandbox.Purge, "p"
	at := time.Unix(1_700_000_000, 0)
	for _, send := range []struct {
		by  *commands.Sender
		cmd sandbox.Command
		at  time.Time
	}{
		{one, cmd, at}, {two, cmd, at.Add(time.Second)}, // one command
		{one, cmd, at.Add(5 * time.Second)}, // it persists: another
		{two, pod, at}, {one, purge, at}, {two, purge, at},
	} {
		if err := send.by.Send(t.Context(), send.cmd, send.at); err != nil {
			t.Fatal(err)
		}
	}
	s, err := c.JS.Stream(t.Context(), contract.CommandStream)
	if err != nil {
		t.Fatal(err)
	}
	info := s.CachedInfo()
	if info.State.Msgs != 4 {
		t.Errorf("%d commands, want 4", info.State.Msgs)
	}
	msg, err := s.GetMsg(t.Context(), info.State.FirstSeq)
	if err != nil {
		t.Fatal(err)
	}
	got, err := contract.DecodeCommand(msg.Subject, msg.Data)
	if err != nil {
		t.Fatal(err)
	}
	got.ID = ""
	if got != cmd {
		t.Errorf("decoded %+v", got)
	}
	if msg.Header.Get(contract.HeaderReplyTo) != "" {
		t.Error("somebody is to be answered")
	}
}

func TestWithoutAQueueSendingFails(t *testing.T) {
	t.Parallel()
	c := testbed.NewServer(t).Connect()
	s := commands.New(c.JS, meter.New(prometheus.NewRegistry(), no, no), zap.NewNop())
	if err := s.Send(t.Context(), sandbox.Command{Verb: sandbox.Purge, Tenant: "acme", SessionID: "s"}, time.Now()); err == nil {
		t.Error("sent to nobody")
	}
}
