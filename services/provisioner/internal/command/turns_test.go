package command_test

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/command"
)

// Starts of one session that come to one provisioner together move its record one
// after the other: each writes it once, and none in vain.
func TestCommandsOfARecordTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := inSituation(t, running)
		b.after[getRecord] = func(int) error {
			<-time.After(time.Millisecond) // in which another one may swap it
			return nil
		}
		const n = 100
		var wg sync.WaitGroup
		for range n {
			c, seq := b.command(sandbox.Start)
			wg.Go(func() {
				if out, err := b.Run(t.Context(), c, seq); err != nil || out.Err != nil {
					t.Errorf("%v, %+v", err, out)
				}
			})
		}
		wg.Wait()
		swaps := 0
		for _, call := range b.calls {
			if strings.HasPrefix(call, updateRecord) {
				swaps++
			}
		}
		if swaps > n {
			t.Errorf("%d starts tried to swap the record %d times", n, swaps)
		}
	})
}

// One that hangs keeps the others of its session for a while only, and those of
// another not at all.
func TestATurnThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := inSituation(t, running)
		release := make(chan struct{})
		b.before[getPod] = func(n int) error {
			if n == 1 {
				<-release
			}
			return nil
		}
		var wg sync.WaitGroup
		run := func() <-chan command.Outcome {
			done := make(chan command.Outcome, 1)
			c, seq := b.command(sandbox.Start)
			wg.Go(func() {
				out, err := b.Run(t.Context(), c, seq)
				if err != nil {
					t.Error(err)
				}
				done <- out
			})
			synctest.Wait()
			return done
		}
		hangs := run()
		began := time.Now()
		second := run()
		if out := <-second; out.View == nil || time.Since(began) > 3*time.Second {
			t.Errorf("after %s: %+v", time.Since(began), out)
		}
		close(release)
		<-hangs
		wg.Wait()
	})
}
