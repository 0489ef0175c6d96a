//go:build apiserver && failpoints

package watcher_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/watcher/internal/testbed"
)

// patient keeps the one that is to die leading until then, on a slow machine too.
var patient = slices.Clip([]string{"LEASE_DURATION=6s", "LEASE_RENEW=5s", "LEASE_RETRY=100ms"})

// A watcher dies between any two of its side effects; another does the rest.
func TestDeathBetweenSideEffects(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"after-view-write", "after-event", "after-events", "before-complete"} {
		for _, hit := range []int{1, 7} {
			if point == "before-complete" && hit > 1 {
				continue
			}
			t.Run(fmt.Sprintf("%s %d", point, hit), func(t *testing.T) {
				t.Parallel()
				s := newStage(t)
				one := s.watcher(append(patient, fmt.Sprintf("SANDBAR_FAILPOINT=watcher/%s:%d", point, hit))...)
				if point == "before-complete" {
					one.died(t)
				} else {
					testbed.Eventually(t, "the first leads", one.leads)
				}
				s.watcher(patient...)
				all := s.churn(4, upTo(2))
				one.died(t)
				s.verify(all)
			})
		}
	}
	for _, point := range []string{"before-key-delete", "after-key-delete"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			one := s.watcher(append(patient, "SANDBAR_FAILPOINT=watcher/"+point)...)
			testbed.Eventually(t, "the first leads", one.leads)
			s.bucket()
			s.watcher(patient...)
			r := s.k8s.Start("s")
			s.eventually(r, sandbox.StatusStarting)
			s.k8s.Purge(r)
			one.died(t)
			testbed.Eventually(t, "the key goes", func() bool { return s.view(r) == nil })
			s.settled()
			s.wantEvents(r, sandbox.EventRequested, sandbox.EventStopped)
		})
	}
}

// died waits until it has killed itself.
func (p *process) died(t *testing.T) {
	t.Helper()
	testbed.Eventually(t, "it dies at its failpoint", func() bool {
		select {
		case <-p.dead:
			return true
		default:
			return false
		}
	})
}
