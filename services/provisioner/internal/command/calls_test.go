package command_test

import (
	"fmt"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// callsOf is what each of the fake's calls costs at the API server, but for the
// looks before a create: with the router there are no routes, and views are NATS'.
var callsOf = map[string]int{
	getRecord: 1, createRecord: 1, updateRecord: 1, getPod: 1, listPods: 1, listObjects: 1, getObjects: 1, deletePod: 1, deleteObject: 1,
	getLedger: 1, swapLedger: 1, createVolume: 1, createPod: 1,
}

// What a command costs at the API server, follow-up included: docs/scaling.md
// reckons with these numbers, and one more call for each sandbox is felt there.
func TestCallsOfACommand(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		from    situation
		verb    sandbox.Verb
		fresh   bool
		free    int // the key has no limits
		limited int
	}{
		{none, sandbox.Start, true, 4, 7},
		{none, sandbox.Start, false, 5, 7},
		{running, sandbox.Start, false, 6, 7},
		{running, sandbox.Start, true, 7, 7}, // its sender was wrong
		{running, sandbox.Pause, false, 5, 7},
		{paused, sandbox.Resume, false, 6, 8},
		{running, sandbox.Stop, false, 7, 9},
	} {
		for _, limits := range []*sandbox.Limits{nil, {Key: "key", Sandboxes: 2}} {
			t.Run(fmt.Sprint(tt.verb, " when ", tt.from, ", fresh ", tt.fresh, ", limits ", limits != nil), func(t *testing.T) {
				t.Parallel()
				b := inSituationOf(t, tt.from, limits)
				b.fake.mu.Lock()
				for _, o := range b.objects { // no routes
					if o.Kind == "Ingress" {
						delete(b.objects, o.Kind+"/"+o.Name)
					}
				}
				b.fake.mu.Unlock()
				b.fresh = tt.fresh
				out := b.do(tt.verb)
				if err := b.Follow(t.Context(), out); err != nil {
					t.Fatal(err)
				}
				n := b.looked
				for kind, times := range b.count {
					n += times * callsOf[kind]
				}
				// What is there already is only looked at.
				if tt.from != none {
					n -= b.count[createVolume]
				}
				if tt.from == running {
					n -= b.count[createPod]
				}
				want := tt.free
				if limits != nil {
					want = tt.limited
				}
				if n != want {
					t.Errorf("%d calls, want %d: %v", n, want, b.calls)
				}
			})
		}
	}
}
