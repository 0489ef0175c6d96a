//go:build apiserver

package watcher_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/watcher/internal/testbed"
)

// churn takes n sandboxes through rounds of changes, each as fast as the API
// server takes them, and returns them at the end of their changes: ready.
func (s *stage) churn(n, rounds int) []*sandbox.Record {
	s.bucket()
	out := make([]*sandbox.Record, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			r := s.k8s.Start(fmt.Sprint("churn-", i))
			pod := s.k8s.MakePod(r)
			for round := range rounds {
				s.k8s.SetReady(pod, true)
				s.eventually(r, sandbox.StatusRunning)
				if round%2 == 0 {
					s.k8s.SetReady(pod, false)
					s.eventually(r, sandbox.StatusStarting)
					continue
				}
				r = s.k8s.Change(r, func(n *sandbox.Record) { n.Desired = sandbox.Paused })
				s.k8s.RemovePod(pod)
				s.eventually(r, sandbox.StatusPaused)
				r = s.k8s.Change(r, func(n *sandbox.Record) { n.Desired = sandbox.Running; n.Incarnation++ })
				pod = s.k8s.MakePod(r)
			}
			s.k8s.SetReady(pod, true)
			out[i] = r
		})
	}
	wg.Wait()
	return out
}

// verify checks what must hold after any faults: views as Kubernetes is, and of
// each sandbox the events of its life, each once and in order. Each change was
// waited for, so that none could be passed over.
func (s *stage) verify(all []*sandbox.Record, rounds int) {
	s.t.Helper()
	want := []sandbox.EventType{sandbox.EventRequested, sandbox.EventStarting, sandbox.EventReady}
	for round := range rounds {
		if round%2 == 0 {
			want = append(want, sandbox.EventUnready, sandbox.EventReady)
			continue
		}
		want = append(want, sandbox.EventPaused, sandbox.EventResumed, sandbox.EventStarting, sandbox.EventReady)
	}
	for _, r := range all {
		s.eventually(r, sandbox.StatusRunning)
	}
	for _, r := range all {
		s.wantEvents(r, want...)
	}
	s.settled()
	for _, r := range all {
		s.wantEvents(r, want...)
	}
}

func TestTheLeaderIsKilledUnderLoad(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	one, two := s.watcher(), s.watcher()
	testbed.Eventually(t, "one of them leads", func() bool { return one.leads() || two.leads() })
	s.bucket()
	const rounds = 6
	done := make(chan []*sandbox.Record, 1)
	go func() { done <- s.churn(12, rounds) }()
	var all []*sandbox.Record
	kills := 0
	for all == nil {
		leader := &one
		testbed.Eventually(t, "somebody leads", func() bool { return one.leads() || two.leads() })
		if two.leads() {
			leader = &two
		}
		before := len(testbed.Events(t, s.conn, "acme"))
		testbed.Eventually(t, "it works", func() bool {
			select {
			case all = <-done:
				return true
			default:
				return len(testbed.Events(t, s.conn, "acme")) > before+5
			}
		})
		if all == nil {
			(*leader).kill()
			*leader = s.watcher()
			kills++
		}
	}
	if kills < 3 {
		t.Errorf("only %d leaders were killed", kills)
	}
	s.verify(all, rounds)
}

// Two leases make two leaders.
func TestTwoThatBothLeadDoNoHarm(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	other := testbed.NewCluster(t)
	one, two := s.watcher(), s.watcher("LEASE_NAMESPACE="+other.Namespace)
	testbed.Eventually(t, "both lead", func() bool { return one.leads() && two.leads() })
	const rounds = 4
	s.verify(s.churn(12, rounds), rounds)
}
