//go:build system

package system_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// TestHundredStartsOfOneSession: a hundred clients at once, over three gateways and
// three provisioners, get one sandbox. The last of them waits for all others, within
// its deadline; so this test has the machine to itself.
func TestHundredStartsOfOneSession(t *testing.T) { // alone
	r := newRig(t, "hundred", stack.Options{Gateways: 3, Provisioners: 3, Settings: []string{noPurge}})
	const starts = 100
	ids := make([]string, starts)
	err := each(starts, starts, func(i int) error {
		rt, err := r.api(i%3).Start(t.Context(), body(t, "one"))
		ids[i] = rt.RuntimeID
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if ids = slices.Compact(slices.Sorted(slices.Values(ids))); len(ids) != 1 {
		t.Fatalf("a hundred starts of one session are told of %d sandboxes: %q", len(ids), ids)
	}
	for _, api := range r.apis() {
		if rt := waitStatus(t, api, "one", "running"); rt.RuntimeID != ids[0] {
			t.Errorf("%s has %s, want %s", api.Base, rt.RuntimeID, ids[0])
		}
	}
	r.onePod(t, ids[0])
	if n := r.records(t); n != 1 {
		t.Errorf("%d records", n)
	}
}

// TestClientGoesAway: who gives up in the middle of a start has begun it all the
// same. It is carried out once, and the next start joins it.
func TestClientGoesAway(t *testing.T) {
	t.Parallel()
	r := newRig(t, "away", stack.Options{Provisioners: 2, Settings: []string{noPurge}})
	thaw := r.freezeProvisioners(t)
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := r.api(0).Start(ctx, body(t, "left"))
		gone <- err
	}()
	r.waitQueued(t, 1)
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Fatalf("the start that was left: %v", err)
	}
	thaw()
	waitFor(t, "the start is carried out", func(ctx context.Context) (string, bool) {
		_, err := r.api(0).Session(ctx, "left")
		return fmt.Sprint(err), err == nil
	})
	rt := waitStatus(t, r.api(0), "left", "running")
	again, err := r.api(0).Start(t.Context(), body(t, "left"))
	if err != nil || again.RuntimeID != rt.RuntimeID {
		t.Errorf("the next start: %+v, %v; want %s", again, err, rt.RuntimeID)
	}
	r.onePod(t, rt.RuntimeID)
}

// TestGatewayDiesBeforeItsAnswer: a start was sent, and its gateway is gone. The
// client asks again at another gateway, and has the sandbox of its first start.
func TestGatewayDiesBeforeItsAnswer(t *testing.T) {
	t.Parallel()
	r := newRig(t, "halfway", stack.Options{Gateways: 2, Provisioners: 2, Settings: []string{noPurge}})
	thaw := r.freezeProvisioners(t)
	first := make(chan error, 1)
	go func() {
		_, err := r.api(0).Start(t.Context(), body(t, "halfway"))
		first <- err
	}()
	r.waitQueued(t, 1)
	if err := r.Kill("gateway-0"); err != nil {
		t.Fatal(err)
	}
	if err := <-first; err == nil || client.StatusOf(err) != 0 {
		t.Fatalf("the start whose gateway died: %v", err)
	}
	thaw()
	var rt client.Runtime
	waitFor(t, "the second start is accepted", func(ctx context.Context) (string, bool) {
		var err error
		rt, err = r.api(1).Start(ctx, body(t, "halfway"))
		// 503: the provisioners are not yet known to be back.
		return fmt.Sprint(err), client.StatusOf(err) != http.StatusServiceUnavailable
	})
	if is := waitStatus(t, r.api(1), "halfway", "running"); is.RuntimeID != rt.RuntimeID {
		t.Errorf("the second start is told of %s, there is %s", rt.RuntimeID, is.RuntimeID)
	}
	r.onePod(t, rt.RuntimeID)
	if n := r.records(t); n != 1 {
		t.Errorf("%d records", n)
	}
}

// freezeProvisioners stops all of them until thaw: commands are taken, and nothing
// is done about them.
func (r *rig) freezeProvisioners(t *testing.T) (thaw func()) {
	t.Helper()
	signal := func(s unix.Signal) {
		for _, svc := range r.Of("provisioner") {
			if err := r.Signal(svc.Name, s); err != nil {
				t.Errorf("%s: %v", svc.Name, err)
			}
		}
	}
	thaw = func() { signal(unix.SIGCONT) }
	t.Cleanup(thaw)
	signal(unix.SIGSTOP)
	return thaw
}

// waitQueued waits until so many commands are in the queue, taken or not.
func (r *rig) waitQueued(t *testing.T, want uint64) {
	t.Helper()
	js := r.bus(t, "provisioner")
	waitFor(t, fmt.Sprintf("%d commands are queued", want), func(ctx context.Context) (string, bool) {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		s, err := js.Stream(ctx, contract.CommandStream)
		if err != nil {
			return err.Error(), false
		}
		n := s.CachedInfo().State.Msgs
		return fmt.Sprintf("%d commands", n), n == want
	})
}
