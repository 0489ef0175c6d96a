//go:build system

package system_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/conformance"
	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

// Bounds of waits, for 2 cores that carry several stacks at once.
const (
	pollEvery = 20 * time.Millisecond
	waitLimit = 45 * time.Second
)

// waitFor looks until it is done, and fails with what was seen last.
func waitFor(t *testing.T, what string, look func(context.Context) (seen string, done bool)) {
	t.Helper()
	if err := client.Poll(t.Context(), pollEvery, waitLimit, look); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// body is the start body of a client, with some variables more.
func body(t *testing.T, session string, env ...string) map[string]any {
	t.Helper()
	b, err := conformance.Body("v1a", session, bed.image)
	if err != nil {
		t.Fatal(err)
	}
	environment, _ := b["environment"].(map[string]any)
	for i := 0; i+1 < len(env); i += 2 {
		environment[env[i]] = env[i+1]
	}
	return b
}

// waitStatus polls a session until it has this status, running also ready.
func waitStatus(t *testing.T, api client.API, session, status string) client.Runtime {
	t.Helper()
	r, err := untilStatus(t.Context(), api, session, status)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// untilStatus is waitStatus for other goroutines than the test's own.
func untilStatus(ctx context.Context, api client.API, session, status string) (r client.Runtime, err error) {
	poll := client.Poll(ctx, pollEvery, waitLimit, func(ctx context.Context) (string, bool) {
		if r, err = api.Session(ctx, session); err != nil {
			return err.Error(), client.StatusOf(err) != 503 // all others are answers
		}
		return fmt.Sprintf("%+v", r), r.Status == status && (status != "running" || r.PodStatus == "ready")
	})
	if poll != nil {
		return r, fmt.Errorf("%s is %s: %w", session, status, poll)
	}
	return r, err
}

// waitEnded waits until a gateway knows that nothing runs for a session.
func waitEnded(t *testing.T, api client.API, session string) {
	t.Helper()
	if rt, err := known(t, api, session); client.StatusOf(err) != 404 && rt.Status != "stopped" {
		t.Errorf("%s shows what is gone as %+v, %v", api.Base, rt, err)
	}
}

// confirmed is an answer, once what it hangs on can be confirmed.
func confirmed(t *testing.T, to client.Caller, request client.Request) (answer client.Answer) {
	t.Helper()
	h := *to.HTTP
	h.Transport = client.Patient{Next: h.Transport}
	to.HTTP = &h
	answer, err := to.Do(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// known is what a gateway answers of a session, once it can: of what its memory lacks it
// says 503 where the bucket does not confirm that within 250 ms, as while all is written
// again.
func known(t *testing.T, api client.API, session string) (rt client.Runtime, err error) {
	t.Helper()
	waitFor(t, session+" is known", func(ctx context.Context) (string, bool) {
		rt, err = api.Session(ctx, session)
		return errorText(err), client.StatusOf(err) != 503
	})
	return rt, err
}

// running starts a sandbox and waits until it serves.
func (r *rig) running(t *testing.T, session string) client.Runtime {
	t.Helper()
	if _, err := r.api(0).Start(t.Context(), body(t, session)); err != nil {
		t.Fatal(err)
	}
	return waitStatus(t, r.api(0), session, "running")
}

// paused starts a sandbox and pauses it.
func (r *rig) paused(t *testing.T, session string) client.Runtime {
	t.Helper()
	rt := r.running(t, session)
	if _, err := r.api(0).Pause(t.Context(), rt.RuntimeID); err != nil {
		t.Fatal(err)
	}
	return waitStatus(t, r.api(0), session, "paused")
}

// each does n pieces of work on so many workers.
func each(workers, n int, work func(i int) error) error {
	errs := make([]error, n)
	next := make(chan int)
	var all sync.WaitGroup
	for range min(workers, n) {
		all.Go(func() {
			for i := range next {
				errs[i] = work(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	all.Wait()
	return errors.Join(errs...)
}
