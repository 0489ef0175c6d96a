//go:build system

package system_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// maxDeaths is how often a command is tried; the delivery after that is given up.
const maxDeaths = 5

// TestPoisonedCommandEnds: a command that kills whoever works on it is given up
// at its sixth delivery, before any work, as a dead letter without its spec.
// Others flow on meanwhile, each within its deadline though it may be taken along
// twice; so this test has the machine to itself.
func TestPoisonedCommandEnds(t *testing.T) { // alone
	r := newRig(t, "poison", stack.Options{Provisioners: 2, Settings: []string{noPurge}})
	js := r.bus(t, "provisioner")
	var others [4]client.Runtime // so that some are always worked on beside the poisoned one
	for i := range others {
		others[i] = r.running(t, fmt.Sprintf("healthy-%d", i))
	}
	poison := "SANDBAR_FAILPOINT=provisioner/before-run/" + string(sandbox.Start)
	deaths := r.supervise(t, poison, poison)

	ctx, cancel := context.WithCancel(t.Context())
	flow := make(chan error, 1)
	var rounds atomic.Int64
	go func() {
		flow <- each(len(others), len(others), func(i int) error { return r.flow(ctx, others[i], &rounds) })
	}()
	const secret = "s3cret-of-the-poisoned-spec"
	begin := time.Now()
	answer, err := r.api(0).Do(t.Context(), client.Request{Method: http.MethodPost, Path: "/start", Body: body(t, "poisoned", "SECRET", secret)})
	if err != nil {
		t.Fatal(err)
	}
	// Nobody knows yet what becomes of it.
	if err := answer.Problem(http.StatusGatewayTimeout); err != nil || answer.Took > 10*time.Second {
		t.Errorf("the poisoned start: %v %v", err, answer)
	}
	waitFor(t, "the command is given up", func(ctx context.Context) (string, bool) {
		s, err := js.Stream(ctx, contract.DeadStream)
		if err != nil {
			return err.Error(), false
		}
		return fmt.Sprintf("%d dead letters, %d deaths", s.CachedInfo().State.Msgs, deaths.Load()), s.CachedInfo().State.Msgs > 0
	})
	cancel()
	if err := <-flow; err != nil || rounds.Load() == 0 {
		t.Errorf("other commands did not flow on, %d rounds: %v", rounds.Load(), err)
	}
	r.waitDrained(t, js)
	t.Logf("given up after %s; meanwhile %d rounds of pause and resume of others", time.Since(begin).Round(time.Second), rounds.Load())
	if got := deaths.Load(); got != maxDeaths {
		t.Errorf("%d provisioners died, want %d", got, maxDeaths)
	}
	if _, err := known(t, r.api(0), "poisoned"); client.StatusOf(err) != http.StatusNotFound {
		t.Errorf("the session of a command that was given up: %v, want 404", err)
	}
	if got := r.records(t); got != len(others) {
		t.Errorf("%d records, want only the healthy ones'", got)
	}
	r.deadLetter(t, secret)
}

// TestPoisonedSandboxEnds: one of which there is a record, and nothing more, as whatever
// works on it dies. It is shown, not forgotten: its start is given up, it is tried again
// as all that drifts is, and paused with the reason once it was not ready for as long as
// it may be: what has no pod may hold work. A stop ends it.
func TestPoisonedSandboxEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t, "deadly", stack.Options{Settings: []string{noPurge}})
	js := r.bus(t, "provisioner")
	deaths := r.supervise(t, "SANDBAR_FAILPOINT=provisioner/after-record",
		"SANDBAR_FAILPOINT=provisioner/before-run/"+string(sandbox.Start)+",provisioner/before-run/"+string(sandbox.Reconcile))
	deadly := body(t, "deadly")
	lifecycle("pending_seconds", 20)(deadly)
	answer, err := r.api(0).Do(t.Context(), client.Request{Method: http.MethodPost, Path: "/start", Body: deadly})
	if err != nil {
		t.Fatal(err)
	}
	// Its view is there, so that it is not unknown.
	if err := answer.Problem(http.StatusGatewayTimeout); err != nil && answer.Status != http.StatusOK {
		t.Errorf("the start: %v %v", err, answer)
	}
	rt := r.shown(t, "deadly", shows("starting", "not found"))
	ended := r.shown(t, "deadly", func(rt client.Runtime) bool { return rt.Status == "paused" })
	if ended.RuntimeID != rt.RuntimeID || !strings.Contains(ended.StatusDetail, "it was not ready within 20s") {
		t.Errorf("it ended as %+v, want %s, and why", ended, rt.RuntimeID)
	}
	r.accepted(t, "a stop", func(ctx context.Context) error { return r.api(0).Stop(ctx, rt.RuntimeID) })
	r.waitHas(t, rt.RuntimeID)
	r.waitDrained(t, js)
	t.Logf("%d provisioners died of it", deaths.Load())
	if deaths.Load() <= maxDeaths {
		t.Errorf("%d provisioners died, want more than the %d of its start", deaths.Load(), maxDeaths)
	}
}

// flow pauses and resumes a sandbox until ctx ends.
func (r *rig) flow(ctx context.Context, rt client.Runtime, rounds *atomic.Int64) error {
	api := r.api(0)
	for ctx.Err() == nil {
		// What was begun is finished: an end in between is no failure.
		whole := context.WithoutCancel(ctx)
		if _, err := api.Pause(whole, rt.RuntimeID); err != nil {
			return err
		}
		if _, err := api.Resume(whole, rt.RuntimeID); err != nil {
			return err
		}
		rounds.Add(1)
	}
	return nil
}

// supervise gives all provisioners a failpoint, restarts those that die, with another
// one, and counts.
func (r *rig) supervise(t *testing.T, first, then string) *atomic.Int64 {
	t.Helper()
	for _, svc := range r.Of("provisioner") {
		r.again(t, svc.Name, first)
	}
	var deaths atomic.Int64
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			for _, name := range r.dead("provisioner") {
				deaths.Add(1)
				if err := r.StartService(name, then); err != nil {
					done <- err
					return
				}
			}
			select {
			case <-ctx.Done():
				done <- nil
				return
			case <-tick.C:
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the supervisor: %v", err)
		}
	})
	return &deaths
}

// deadLetter looks at the only dead letter, in the store itself: no user of the
// stack may read it.
func (r *rig) deadLetter(t *testing.T, secret string) {
	t.Helper()
	js := r.operator(t)
	s, err := js.Stream(t.Context(), contract.DeadStream)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.GetMsg(t.Context(), s.CachedInfo().State.FirstSeq)
	if err != nil {
		t.Fatal(err)
	}
	if n := s.CachedInfo().State.Msgs; n != 1 {
		t.Errorf("%d dead letters, want one", n)
	}
	record := sandbox.RecordName(sandbox.DefaultTenant, "poisoned")
	if want := contract.DeadLetterSubject(sandbox.Start, sandbox.DefaultTenant, record); m.Subject != want {
		t.Errorf("the dead letter is %s, want %s", m.Subject, want)
	}
	whole := string(m.Data) + fmt.Sprint(m.Header)
	for _, hidden := range []string{secret, "SECRET", bed.image, "environment", "spec"} {
		if strings.Contains(whole, hidden) {
			t.Errorf("the dead letter holds %q: %s", hidden, whole)
		}
	}
	var letter contract.DeadLetter
	if err := json.Unmarshal(m.Data, &letter); err != nil {
		t.Fatal(err)
	}
	if letter.Verb != sandbox.Start || letter.Record != record || letter.Delivered != maxDeaths+1 || letter.CommandID == "" || letter.Error == "" {
		t.Errorf("the dead letter is %+v, want the start's, at its delivery %d", letter, maxDeaths+1)
	}
	commands, err := js.Stream(t.Context(), contract.CommandStream)
	if err != nil {
		t.Fatal(err)
	}
	if n := commands.CachedInfo().State.Msgs; n != 0 {
		t.Errorf("%d commands are still in the queue", n)
	}
}
