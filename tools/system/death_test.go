//go:build system

package system_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// A deathRow is one verb and every point between two of its side effects.
type deathRow struct {
	verb   sandbox.Verb
	points []string
	// before is what the sandbox is when the command comes: "", running, paused.
	before string
	after  string
	has    []string
}

var all4 = []string{"ingress", "pod", "service", "volume"}

var deathRows = []deathRow{
	{sandbox.Start, []string{"after-fetch", "after-take", "after-record", "after-volume", "after-route", "after-pod", "after-view", "after-reply", "before-ack"}, "", "running", all4},
	{sandbox.Pause, []string{"after-fetch", "after-record", "after-release", "after-delete", "after-view", "after-reply", "before-ack"}, "running", "paused", []string{"ingress", "service", "volume"}},
	{sandbox.Resume, []string{"after-fetch", "after-take", "after-record", "after-volume", "after-route", "after-pod", "after-view", "after-reply", "before-ack"}, "paused", "running", all4},
	{sandbox.Stop, []string{"after-fetch", "after-record", "after-release", "after-delete:1", "after-delete:2", "after-delete:3", "after-delete:4", "after-view", "after-reply", "before-ack"}, "running", "stopped", nil},
}

// TestProvisionerDies: between any two side effects of a command the provisioner
// is killed. Another finishes, the same request gets its answer, and nothing is
// there twice or too long.
func TestProvisionerDies(t *testing.T) {
	t.Parallel()
	for _, row := range deathRows {
		t.Run(string(row.verb), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "dies-"+string(row.verb), stack.Options{
				Provisioners: 2, Settings: []string{"ROUTING_MODE=ingress", "ROUTE_CHECK=false", noPurge, "API_KEY_LIMITS=sandboxes=50"},
			})
			ids := make([]string, len(row.points))
			err := each(4, len(row.points), func(i int) (err error) {
				ids[i], err = r.bring(t, row.session(i), row.before)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			r.waitDrained(t, r.bus(t, "provisioner"))
			for i, point := range row.points {
				r.dies(t, row, point, row.session(i), ids[i])
			}
			running := len(row.points)
			if row.after != "running" {
				running = 0
			}
			r.waitPlaces(t, running)
			if got := r.records(t); got != len(row.points) {
				t.Errorf("%d records after %d sandboxes", got, len(row.points))
			}
			r.stopAll(t, row)
		})
	}
}

func (row deathRow) session(i int) string { return fmt.Sprintf("%s-%d", row.verb, i) }

// bring makes a sandbox that has this status.
func (r *rig) bring(t *testing.T, session, status string) (id string, err error) {
	if status == "" {
		return "", nil
	}
	started, err := r.api(0).Start(t.Context(), body(t, session))
	if err != nil {
		return "", err
	}
	if _, err := untilStatus(t.Context(), r.api(0), session, "running"); err != nil {
		return "", err
	}
	if status == "paused" {
		_, err = r.api(0).Pause(t.Context(), started.RuntimeID)
	}
	return started.RuntimeID, err
}

func (r *rig) dies(t *testing.T, row deathRow, point, session, id string) {
	t.Helper()
	fired := r.arm(t, "provisioner", "provisioner/"+point)
	begin := time.Now()
	id, err := r.do(t, row.verb, session, id) // fails where it takes longer than a client waits
	took := time.Since(begin)
	if err != nil {
		t.Fatalf("%s, killed %s: %v", row.verb, point, err)
	}
	if len(r.dead("provisioner")) == 0 {
		waitFor(t, fmt.Sprintf("%s: a provisioner dies %s", row.verb, point), func(context.Context) (string, bool) {
			return fmt.Sprintf("failpoint taken: %t", fired()), len(r.dead("provisioner")) > 0
		})
	}
	if n := len(r.dead("provisioner")); n != 1 {
		t.Fatalf("%s, killed %s: %d provisioners died, want one", row.verb, point, n)
	}
	t.Logf("%s killed %s: answered after %s", row.verb, point, took.Round(time.Millisecond))
	r.waitDrained(t, r.bus(t, "provisioner"))
	r.waitHas(t, id, row.has...)
	if row.after == "stopped" {
		if rec := r.record(t, session); rec.Desired != sandbox.Stopped {
			t.Errorf("%s, killed %s: the record wants %s", row.verb, point, rec.Desired)
		}
		return
	}
	waitStatus(t, r.api(0), session, row.after)
	if rec := r.record(t, session); rec.RuntimeID != id {
		t.Errorf("%s, killed %s: the record is of %s, the answer of %s", row.verb, point, rec.RuntimeID, id)
	}
}

// do sends one command and returns the runtime id that it is about.
func (r *rig) do(t *testing.T, verb sandbox.Verb, session, id string) (string, error) {
	t.Helper()
	var rt client.Runtime
	var err error
	switch verb {
	case sandbox.Start:
		if rt, err = r.api(0).Start(t.Context(), body(t, session)); err == nil {
			id = rt.RuntimeID
		}
	case sandbox.Pause:
		rt, err = r.api(0).Pause(t.Context(), id)
		if err == nil && rt.Status != "paused" {
			err = fmt.Errorf("pause answers %+v", rt)
		}
	case sandbox.Resume:
		_, err = r.api(0).Resume(t.Context(), id)
	case sandbox.Stop:
		err = r.api(0).Stop(t.Context(), id)
	}
	return id, err
}

// stopAll stops what the row has made; nothing must be left.
func (r *rig) stopAll(t *testing.T, row deathRow) {
	t.Helper()
	r.again(t, "provisioner-0")
	r.again(t, "provisioner-1")
	for i := range row.points {
		if row.after == "stopped" {
			continue
		}
		if _, err := r.do(t, sandbox.Stop, row.session(i), r.record(t, row.session(i)).RuntimeID); err != nil {
			t.Error(err)
		}
	}
	r.waitHas(t, "")
	r.waitPlaces(t, 0)
}
