//go:build apiserver && failpoints

package watcher_test

import (
	"fmt"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/watcher/internal/testbed"
)

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
				one := s.watcher(fmt.Sprintf("SANDBAR_FAILPOINT=watcher/%s:%d", point, hit))
				if point != "before-complete" {
					testbed.Eventually(t, "the first leads", one.leads)
				}
				s.watcher()
				all := s.churn(4, upTo(2))
				one.wait() // it has died by itself
				s.verify(all)
			})
		}
	}
	for _, point := range []string{"before-key-delete", "after-key-delete"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			one := s.watcher("SANDBAR_FAILPOINT=watcher/" + point)
			testbed.Eventually(t, "the first leads", one.leads)
			s.bucket()
			s.watcher()
			r := s.k8s.Start("s")
			s.eventually(r, sandbox.StatusStarting)
			s.k8s.Purge(r)
			one.wait()
			testbed.Eventually(t, "the key goes", func() bool { return s.view(r) == nil })
			s.settled()
			s.wantEvents(r, sandbox.EventRequested, sandbox.EventStopped)
		})
	}
}
