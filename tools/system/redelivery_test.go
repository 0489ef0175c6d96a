//go:build system

package system_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// TestRedeliveryChangesNothing: a provisioner dies after it has answered a
// command and before it acknowledges it. Another command follows at once; the
// first one comes again, and changes nothing.
func TestRedeliveryChangesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, "again", stack.Options{Provisioners: 2, Settings: []string{noPurge}})
	for _, c := range []pair{
		{"", sandbox.Start, sandbox.Stop, "stopped", nil},
		{"", sandbox.Start, sandbox.Pause, "paused", []string{"volume"}},
		{"running", sandbox.Pause, sandbox.Resume, "running", []string{"pod", "volume"}},
		{"paused", sandbox.Resume, sandbox.Pause, "paused", []string{"volume"}},
		{"running", sandbox.Stop, sandbox.Start, "running", []string{"pod", "volume"}},
	} {
		t.Run(fmt.Sprintf("%s then %s", c.first, c.second), func(t *testing.T) {
			// Where the second is slow, the first is delivered again before it is done, and
			// nothing is shown.
			for try := 0; !r.redelivered(t, c, fmt.Sprintf("%s-%s-%d", c.first, c.second, try)); try++ {
				if try == 4 {
					t.Fatal("each time the first command was acknowledged before the second was done")
				}
			}
		})
	}
}

// pair is a command that is delivered again after another was done.
type pair struct {
	before        string
	first, second sandbox.Verb
	after         string
	has           []string
}

// redelivered does a pair with a session, and says whether the first was delivered again
// after the second.
func (r *rig) redelivered(t *testing.T, c pair, session string) bool {
	t.Helper()
	id, err := r.bring(t, session, c.before)
	if err != nil {
		t.Fatal(err)
	}
	js := r.bus(t, "provisioner")
	r.waitDrained(t, js)
	r.arm(t, "provisioner", "provisioner/before-ack")
	if id, err = r.do(t, c.first, session, id); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a provisioner dies before its acknowledgement", func(context.Context) (string, bool) {
		return fmt.Sprintf("%q are dead", r.dead("provisioner")), len(r.dead("provisioner")) == 1
	})
	first := id
	if id, err = r.do(t, c.second, session, id); err != nil {
		t.Fatal(err)
	}
	info, err := r.queue(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	if info.NumAckPending == 0 {
		return false
	}
	before := r.record(t, session)
	r.waitDrained(t, js)
	after := r.record(t, session)
	if after.ResourceVersion != before.ResourceVersion {
		t.Errorf("the redelivered %s wrote the record:\nbefore %+v\nafter  %+v", c.first, before, after)
	}
	r.waitHas(t, id, c.has...)
	if got := waitStatus(t, r.api(0), session, c.after); got.RuntimeID != id {
		t.Errorf("the session is %s, want %s", got.RuntimeID, id)
	}
	if first != id {
		r.waitHas(t, first)
	}
	if slices.Contains(c.has, "pod") {
		r.onePod(t, id)
	}
	return true
}
