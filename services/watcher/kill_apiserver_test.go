//go:build apiserver

package watcher_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/watcher/internal/testbed"
)

// churned is a sandbox at the end of some rounds of changes: ready.
type churned struct {
	record *sandbox.Record
	want   []sandbox.EventType // each change was waited for, so none is passed over
}

func upTo(rounds int) func(int) bool { return func(round int) bool { return round < rounds } }

// churn takes n sandboxes through rounds of changes, as long as more says so.
func (s *stage) churn(n int, more func(round int) bool) []churned {
	s.bucket()
	out := make([]churned, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { out[i] = s.churnOne(fmt.Sprint("churn-", i), more) })
	}
	wg.Wait()
	return out
}

func (s *stage) churnOne(session string, more func(int) bool) churned {
	r := s.k8s.Start(session)
	pod := s.k8s.MakePod(r)
	want := []sandbox.EventType{sandbox.EventRequested, sandbox.EventStarting}
	for round := 0; more(round); round++ {
		s.k8s.SetReady(pod, true)
		s.eventually(r, sandbox.StatusRunning)
		want = append(want, sandbox.EventReady)
		if round%2 == 0 {
			s.k8s.SetReady(pod, false)
			s.eventually(r, sandbox.StatusStarting)
			want = append(want, sandbox.EventUnready)
			continue
		}
		r = s.k8s.Change(r, func(n *sandbox.Record) { n.Desired = sandbox.Paused })
		s.k8s.RemovePod(pod)
		s.eventually(r, sandbox.StatusPaused)
		r = s.k8s.Change(r, func(n *sandbox.Record) { n.Desired = sandbox.Running; n.Incarnation++ })
		pod = s.k8s.MakePod(r)
		want = append(want, sandbox.EventPaused, sandbox.EventResumed, sandbox.EventStarting)
	}
	s.k8s.SetReady(pod, true)
	s.eventually(r, sandbox.StatusRunning)
	return churned{r, append(want, sandbox.EventReady)}
}

// verify checks what must hold after any faults: views as Kubernetes is, and of
// each sandbox the events of its life, each once and in order.
func (s *stage) verify(all []churned) {
	s.t.Helper()
	for _, c := range all {
		s.wantEvents(c.record, c.want...)
	}
	s.settled()
	for _, c := range all {
		s.eventually(c.record, sandbox.StatusRunning)
		s.wantEvents(c.record, c.want...)
	}
}

func TestTheLeaderIsKilledUnderLoad(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	all := [2]*process{s.watcher(), s.watcher()}
	s.bucket()
	var enough atomic.Bool
	done := make(chan []churned, 1)
	go func() { done <- s.churn(12, func(int) bool { return !enough.Load() }) }()
	for range 4 {
		leader := -1
		testbed.Eventually(t, "somebody leads", func() bool {
			for i, p := range all {
				if p.leads() {
					leader = i
				}
			}
			return leader >= 0
		})
		before := len(testbed.Events(t, s.conn, "acme"))
		testbed.Eventually(t, "it works", func() bool { return len(testbed.Events(t, s.conn, "acme")) > before+20 })
		all[leader].kill()
		all[leader] = s.watcher()
	}
	enough.Store(true)
	s.verify(<-done)
}

// Two leases make two leaders.
func TestTwoThatBothLeadDoNoHarm(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	other := testbed.NewCluster(t)
	one, two := s.watcher(), s.watcher("LEASE_NAMESPACE="+other.Namespace)
	testbed.Eventually(t, "both lead", func() bool { return one.leads() && two.leads() })
	s.verify(s.churn(12, upTo(4)))
}
