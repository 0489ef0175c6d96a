//go:build apiserver

package watcher_test

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sandbar-io/sandbar/pkg/run"
	"github.com/sandbar-io/sandbar/services/watcher"
	"github.com/sandbar-io/sandbar/services/watcher/internal/testbed"
)

// Two watchers in one process; goleak looks at what they leave.
func TestALeaderThatIsStoppedHandsOver(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	cfg, err := run.Parse[watcher.Config]([]string{
		"KUBECONFIG=" + os.Getenv(testbed.KubeconfigVar), "NAMESPACE=" + s.k8s.Namespace, "LEASE_NAMESPACE=" + s.k8s.Namespace,
		"NATS_URL=" + s.nats.URL(), "VIEW_SEALING_KEY=" + testbed.SealingKey, "HEALTH_PORT=0",
		"LEASE_DURATION=60s", "LEASE_RENEW=40s", "LEASE_RETRY=100ms",
	})
	if err != nil {
		t.Fatal(err)
	}
	start := func() (stop func()) {
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := watcher.Run(ctx, cfg, testLog); err != nil {
				t.Error(err)
			}
		})
		stop = func() { cancel(); wg.Wait() }
		t.Cleanup(stop)
		return stop
	}
	holder := func() string {
		l, err := s.k8s.Client.CoordinationV1().Leases(s.k8s.Namespace).Get(t.Context(), "sandbar-watcher", metav1.GetOptions{})
		if err != nil || l.Spec.HolderIdentity == nil {
			return ""
		}
		return *l.Spec.HolderIdentity
	}
	stop := start()
	testbed.Eventually(t, "the first leads", func() bool { return holder() != "" })
	first := holder()
	start()
	began := time.Now()
	stop()
	testbed.Eventually(t, "the second leads", func() bool { return holder() != first && holder() != "" })
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the hand-over took %v: the lease was not given up", took)
	}
}
