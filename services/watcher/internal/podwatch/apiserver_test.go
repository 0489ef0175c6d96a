//go:build apiserver

package podwatch_test

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/settings"
	"github.com/sandbar-io/sandbar/services/watcher/internal/faults"
	"github.com/sandbar-io/sandbar/services/watcher/internal/podwatch"
	"github.com/sandbar-io/sandbar/services/watcher/internal/testbed"
)

func TestMain(m *testing.M) {
	// Idle connections to the API server stay in client-go's cache.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("golang.org/x/net/http2.(*ClientConn).readLoop"))
}

type bench struct {
	k8s      *testbed.Cluster
	net      *testbed.Freezer
	w        *podwatch.Watch
	restarts atomic.Int64
	told     sync.Map
}

func newBench(t *testing.T, every time.Duration) *bench {
	t.Helper()
	net := &testbed.Freezer{}
	b := newBenchOver(t, every, func(rt http.RoundTripper) http.RoundTripper { net.Next = rt; return net })
	b.net = net
	return b
}

// newBenchOver is a bench over another network.
func newBenchOver(t *testing.T, every time.Duration, wrap func(http.RoundTripper) http.RoundTripper) *bench {
	t.Helper()
	b := &bench{k8s: testbed.NewCluster(t)}
	cfg := rest.CopyConfig(b.k8s.Config)
	cfg.Wrap(wrap)
	b.w = podwatch.New(kubernetes.NewForConfigOrDie(cfg), metadata.NewForConfigOrDie(cfg), podwatch.Config{
		Namespace: b.k8s.Namespace, RoutingMode: settings.ByIngress, CheckEvery: every, CheckAgain: time.Second, Restarts: func() { b.restarts.Add(1) },
		Faults: faults.New(),
	}, zap.NewNop())
	b.w.Subscribe(func(key string) { b.told.Store(key, true) })
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = b.w.Run(ctx) }) // ends with ctx
	t.Cleanup(func() { cancel(); wg.Wait() })
	<-b.w.Synced()
	return b
}

func (b *bench) shows(r *sandbox.Record) bool {
	s := b.w.Look(r.Name)
	return s.Record != nil && s.Record.Generation == r.Generation
}

func TestRecordsAndTheirPodsAreShown(t *testing.T) {
	t.Parallel()
	b := newBench(t, time.Hour)
	r := b.k8s.Start("one")
	testbed.Eventually(t, "the record is shown", func() bool { return b.shows(r) })
	pod := b.k8s.MakePod(r)
	b.k8s.SetReady(pod, true)
	testbed.Eventually(t, "its pod is shown", func() bool {
		s := b.w.Look(r.Name)
		return len(s.Pods) == 1 && s.Pods[0].Ready && s.Order >= s.Pods[0].Order
	})
	if _, told := b.told.Load(testbed.Key(r)); !told {
		t.Error("nobody was told")
	}
	got := b.w.Look(r.Name).Record
	if got.SessionKey != r.SessionKey || got.SecretKey != "" || got.Spec.Environment != nil || got.Spec.Image != "agent:1" {
		t.Errorf("kept of the record: %+v", got)
	}
	before := b.w.Look(r.Name).Order
	b.k8s.RemovePod(pod)
	testbed.Eventually(t, "its end is shown", func() bool {
		s := b.w.Look(r.Name)
		return len(s.Pods) == 0 && s.Order > before
	})
	if live, exists, err := b.w.Live(t.Context(), r.Name); err != nil || !exists || live.UID != r.UID {
		t.Errorf("live: %+v %v %v", live, exists, err)
	}
	b.k8s.Purge(r)
	testbed.Eventually(t, "the record's end is shown", func() bool { return b.w.Look(r.Name).Record == nil })
	if _, exists, err := b.w.Live(t.Context(), r.Name); err != nil || exists {
		t.Errorf("live after its end: %v %v", exists, err)
	}
}

func TestAFrozenWatchIsNoticed(t *testing.T) {
	t.Parallel()
	b := newBench(t, 300*time.Millisecond)
	one, gone := b.k8s.Start("one"), b.k8s.Start("gone")
	testbed.Eventually(t, "the records are shown", func() bool { return b.shows(one) && b.shows(gone) })
	b.net.Freeze()
	two := b.k8s.Start("two")
	changed := b.k8s.Change(one, func(r *sandbox.Record) { r.Desired = sandbox.Paused })
	b.k8s.Purge(gone)
	b.k8s.MakePod(two)
	testbed.Eventually(t, "what the watch hid is shown", func() bool {
		return b.shows(two) && b.shows(changed) && !b.shows(gone) && len(b.w.Look(two.Name).Pods) == 1
	})
	for _, r := range []*sandbox.Record{two, gone} { // after it is shown
		testbed.Eventually(t, "somebody is told of "+r.SessionID, func() bool {
			_, told := b.told.Load(testbed.Key(r))
			return told
		})
	}
	if n := b.restarts.Load(); n != 2 {
		t.Errorf("%d watches were made anew, want those of records and of pods", n)
	}
}

// Until a watch that stood still has begun anew, it is told.
func TestAFrozenWatchIsTold(t *testing.T) {
	t.Parallel()
	b := newBench(t, 300*time.Millisecond)
	if behind := b.w.Behind(); len(behind) > 0 {
		t.Errorf("behind at first: %q", behind)
	}
	begin := b.net.FreezeAll()
	defer begin()
	r := b.k8s.Start("one")
	b.k8s.MakePod(r)
	testbed.Eventually(t, "it is told that the watches stood still", func() bool {
		return slices.Equal(b.w.Behind(), []string{"records", "pods"})
	})
	if err := b.w.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if behind := b.w.Behind(); len(behind) != 2 || !b.shows(r) {
		t.Errorf("after a list beside the watches %q are behind", behind)
	}
	begin()
	testbed.Eventually(t, "they have begun anew", func() bool { return len(b.w.Behind()) == 0 })
}

func TestABusyWatchIsNotTakenForAFrozenOne(t *testing.T) {
	t.Parallel()
	b := newBench(t, 100*time.Millisecond)
	r := b.k8s.Start("busy")
	for range 300 {
		r = b.k8s.Change(r, func(*sandbox.Record) {})
	}
	testbed.Eventually(t, "the last change is shown", func() bool { return b.shows(r) })
	if n := b.restarts.Load(); n != 0 {
		t.Errorf("%d watches were made anew", n)
	}
}

func TestRefreshShowsWhatAFrozenWatchHides(t *testing.T) {
	t.Parallel()
	b := newBench(t, time.Hour)
	b.net.Freeze()
	r := b.k8s.Start("one")
	b.k8s.MakePod(r)
	if err := b.w.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !b.shows(r) || len(b.w.Look(r.Name).Pods) != 1 || len(b.w.Keys()) != 1 {
		t.Errorf("after Refresh: %+v", b.w.Look(r.Name))
	}
}

func TestObjectsAreListed(t *testing.T) {
	t.Parallel()
	b := newBench(t, time.Hour)
	r := b.k8s.Start("one")
	_, err := b.k8s.Client.CoreV1().PersistentVolumeClaims(b.k8s.Namespace).Create(t.Context(), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: r.RuntimeID, Labels: kube.ObjectLabels(r)},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOncePod},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := b.w.ListObjects(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := b.w.Look(r.Name)
	if len(s.Objects) != 1 || !s.Objects[0].Volume || s.Objects[0].RecordUID != r.UID || s.ObjectsAt.Before(start) {
		t.Errorf("objects %+v at %v", s.Objects, s.ObjectsAt)
	}
}
