package command_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/gateway/internal/admission"
	"github.com/sandbar-io/sandbar/services/gateway/internal/command"
)

var one = admission.Limits{PerTenant: 1, Total: 1, Waiting: 9}

// held is a sender whose only place is taken by a command that nobody answers
// until finish.
func held(t *testing.T, present func() bool) (s *command.Sender, gone context.CancelFunc, finish func(), done <-chan error) {
	t.Helper()
	srv := startServer(t)
	taken, answer := make(chan struct{}), make(chan struct{})
	startProvisioner(t, srv.ClientURL(), func(n int, d delivery) *contract.Reply {
		if n == 0 {
			close(taken)
			<-answer
		}
		return accept(t, d.command, 1)
	})
	finish = sync.OnceFunc(func() { close(answer) })
	t.Cleanup(finish)
	s = newSenderBehind(t, connect(t, srv.ClientURL()), newMemory(), present, one)
	ctx, gone := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := s.Do(ctx, start("first"), command.Origin{})
		first <- err
	}()
	<-taken
	return s, gone, finish, first
}

func always() bool { return true }

func TestTurnComes(t *testing.T) {
	t.Parallel()
	s, _, finish, first := held(t, always)
	second := make(chan error, 1)
	go func() {
		_, err := s.Do(t.Context(), start("second"), command.Origin{})
		second <- err
	}()
	finish()
	for _, c := range []<-chan error{first, second} {
		if err := <-c; err != nil {
			t.Error(err)
		}
	}
}

// A client that goes away leaves its command in the queue, and that counts until
// it is answered: else whoever never waits would have no bound.
func TestGoneClientsCommandCounts(t *testing.T) {
	t.Parallel()
	s, gone, finish, first := held(t, always)
	gone()
	begin := time.Now()
	_, err := s.Do(t.Context(), start("second"), command.Origin{})
	if took := time.Since(begin); sandbox.CodeOf(err) != sandbox.CodeRateLimited || took < fast.Turn || took > fast.Deadline {
		t.Errorf("%v after %s", err, took)
	}
	finish()
	if err := <-first; err != nil {
		t.Logf("the first, not in time: %v", err)
	}
	if _, err := s.Do(t.Context(), start("third"), command.Origin{}); err != nil {
		t.Errorf("the third: %v", err)
	}
}

// Who waits for a turn when nobody is there any more is told so at once.
func TestAwayWhileWaiting(t *testing.T) {
	t.Parallel()
	var absent atomic.Bool
	s, _, _, _ := held(t, func() bool { return !absent.Load() })
	absent.Store(true)
	begin := time.Now()
	_, err := s.Do(t.Context(), start("second"), command.Origin{})
	if took := time.Since(begin); sandbox.CodeOf(err) != sandbox.CodeUnavailable || took >= fast.Turn {
		t.Errorf("%v after %s", err, took)
	}
}

// A client that goes away while it waits leaves nothing behind.
func TestGoneWhileWaiting(t *testing.T) {
	t.Parallel()
	s, _, finish, first := held(t, always)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Do(ctx, start("second"), command.Origin{}); sandbox.CodeOf(err) != sandbox.CodeUnavailable {
		t.Errorf("%v", err)
	}
	finish()
	if err := <-first; err != nil {
		t.Logf("the first, not in time: %v", err)
	}
	if _, err := s.Do(t.Context(), start("third"), command.Origin{}); err != nil {
		t.Error(err)
	}
}
