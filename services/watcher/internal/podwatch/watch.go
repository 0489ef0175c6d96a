// Package podwatch holds what Kubernetes says of records and of what belongs to
// them. Records and pods are watched, all else is listed now and then.
package podwatch

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/watcher/internal/faults"
)

// Config says what is watched.
type Config struct {
	Namespace   string
	RoutingMode string        // which kinds of objects a sandbox's route is made of
	CheckEvery  time.Duration // how often a LIST is compared with a watch
	CheckAgain  time.Duration // how much later a difference is looked at again
	Restarts    func()        // counts watches that are made anew
	Faults      *faults.Faults
}

// record is a Secret as its store holds it.
type record struct {
	name   string
	record *sandbox.Record // nil: cannot be read
}

// Watch follows one namespace.
type Watch struct {
	namespace string
	client    kubernetes.Interface
	meta      metadata.Interface
	log       *zap.Logger
	cfg       Config
	kinds     []kind
	now       func() time.Time

	records *source[record]
	pods    *source[sandbox.Pod]
	objects atomic.Pointer[objects]
	told    atomic.Pointer[func(key string)]
	synced  chan struct{}
}

// New returns a Watch that Run fills.
func New(client kubernetes.Interface, headers metadata.Interface, cfg Config, log *zap.Logger) *Watch {
	w := &Watch{
		namespace: cfg.Namespace, client: client, meta: headers, log: log, cfg: cfg, now: time.Now,
		kinds: append([]kind{volumes}, routes[cfg.RoutingMode]...), synced: make(chan struct{}),
	}
	secrets, pods := client.CoreV1().Secrets(cfg.Namespace), client.CoreV1().Pods(cfg.Namespace)
	w.records = &source[record]{
		kind: "records", example: &corev1.Secret{}, selector: kube.RecordSelector, client: client,
		list:    func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return secrets.List(ctx, o) },
		watch:   func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) { return secrets.Watch(ctx, o) },
		headers: headers.Resource(secretResource).Namespace(cfg.Namespace), log: log, restarts: cfg.Restarts, faults: cfg.Faults,
		store: newStore(w.decode, nil, w.recordChanged),
	}
	w.pods = &source[sandbox.Pod]{
		kind: "pods", example: &corev1.Pod{}, selector: kube.SandboxSelector, client: client,
		list:    func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return pods.List(ctx, o) },
		watch:   func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) { return pods.Watch(ctx, o) },
		headers: headers.Resource(podResource).Namespace(cfg.Namespace), log: log, restarts: cfg.Restarts, faults: cfg.Faults,
		store: newStore(func(obj any) sandbox.Pod { return kube.PodOf(obj.(*corev1.Pod)) },
			func(p sandbox.Pod) string { return p.Record }, w.podChanged),
	}
	return w
}

// decode keeps of a record what a view is made of. The client's secrets other
// than the session key do not stay in memory.
func (w *Watch) decode(obj any) record {
	s := obj.(*corev1.Secret)
	r, err := kube.DecodeRecord(s)
	if err != nil {
		w.log.Warn("a record cannot be read", zap.String("record", s.Name), zap.Error(err))
		return record{name: s.Name}
	}
	r.SecretKey, r.Spec = "", sandbox.Spec{Image: r.Spec.Image, Lifecycle: r.Spec.Lifecycle}
	return record{s.Name, r}
}

// Run follows until ctx ends.
func (w *Watch) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { w.records.run(ctx) })
	wg.Go(func() { w.pods.run(ctx) })
	wg.Go(func() { w.waitSynced(ctx) })
	wg.Go(func() { w.checks(ctx, "records", w.records.check) })
	wg.Go(func() { w.checks(ctx, "pods", w.pods.check) })
	wg.Wait()
	return ctx.Err()
}

func (w *Watch) waitSynced(ctx context.Context) {
	for _, c := range []chan struct{}{w.records.store.synced, w.pods.store.synced} {
		select {
		case <-c:
		case <-ctx.Done():
			return
		}
	}
	w.log.Info("records and pods are loaded", zap.Int("records", len(w.records.store.all())))
	close(w.synced)
}

func (w *Watch) checks(ctx context.Context, kind string, check func(context.Context, time.Duration) error) {
	tick := time.NewTicker(w.cfg.CheckEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := check(ctx, w.cfg.CheckAgain); err != nil && ctx.Err() == nil {
				w.log.Warn("the watch cannot be checked", zap.String("kind", kind), zap.Error(err))
			}
		}
	}
}

// Synced is closed once records and pods have been loaded.
func (w *Watch) Synced() <-chan struct{} { return w.synced }

// Behind names the kinds whose watch stood still and has not begun anew yet: what is
// held of them is old.
func (w *Watch) Behind() (kinds []string) {
	if w.records.store.isBehind() {
		kinds = append(kinds, w.records.kind)
	}
	if w.pods.store.isBehind() {
		kinds = append(kinds, w.pods.kind)
	}
	return kinds
}

// Subscribe sets who is told the view key of whatever changes; nil: nobody.
func (w *Watch) Subscribe(told func(key string)) { w.told.Store(&told) }

func (w *Watch) tell(r *sandbox.Record) {
	if told := w.told.Load(); r != nil && told != nil && *told != nil {
		(*told)(contract.ViewKey(r.Tenant, r.Name))
	}
}

func (w *Watch) recordChanged(r record) { w.tell(r.record) }

// podChanged tells of the pod's record. Where that is not here yet its own
// coming tells; where it is gone its going told.
func (w *Watch) podChanged(p sandbox.Pod) {
	rs, _ := w.records.store.of(p.Record)
	for _, r := range rs {
		w.tell(r.record)
	}
}

// Refresh returns when Look shows nothing older than this call.
func (w *Watch) Refresh(ctx context.Context) error {
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error { return w.records.refresh(ctx) })
	both.Go(func() error { return w.pods.refresh(ctx) })
	return both.Wait()
}

// Live reads a record at the API server. exists is true too for one that cannot
// be read.
func (w *Watch) Live(ctx context.Context, name string) (r *sandbox.Record, exists bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s, err := w.client.CoreV1().Secrets(w.namespace).Get(ctx, name, metav1.GetOptions{})
	w.cfg.Faults.Request("get a record", err)
	if apierrors.IsNotFound(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("get record %s: %w", name, err)
	}
	r, err = kube.DecodeRecord(s)
	if err != nil {
		return nil, true, nil
	}
	return r, true, nil
}
