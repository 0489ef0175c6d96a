package podwatch

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/sandbar-io/sandbar/services/watcher/internal/faults"
)

const (
	// pageSize bounds one answer of a LIST.
	pageSize = 500
	// requestTimeout bounds one request that is not a watch.
	requestTimeout = 15 * time.Second
)

// backoff of the reflector. Its default goes up to a minute: too long for a
// watcher to be blind after the API server is back.
func backoff() *wait.Backoff {
	return &wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.5, Cap: 5 * time.Second, Steps: 6}
}

// source keeps a store equal to what the API server holds of one kind.
type source[T any] struct {
	kind     string
	example  runtime.Object
	selector string
	list     func(context.Context, metav1.ListOptions) (runtime.Object, error)
	watch    func(context.Context, metav1.ListOptions) (watch.Interface, error)
	client   any // asked whether it can stream lists
	headers  metadata.ResourceInterface
	store    *store[T]
	log      *zap.Logger
	restarts func() // counts
	faults   *faults.Faults

	mu     sync.Mutex
	cancel context.CancelFunc // ends the present reflector
}

// run keeps a reflector running until ctx ends.
func (s *source[T]) run(ctx context.Context) {
	lw := cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.LabelSelector = s.selector
			l, err := s.list(ctx, o)
			s.note(ctx, err)
			return l, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.LabelSelector = s.selector
			w, err := s.watch(ctx, o)
			s.note(ctx, err)
			return w, err
		},
	}, s.client)
	logger := klog.FromContext(ctx)
	for ctx.Err() == nil {
		inner, cancel := context.WithCancel(ctx)
		s.mu.Lock()
		s.cancel = cancel
		s.mu.Unlock()
		r := cache.NewReflectorWithOptions(lw, s.example, s.store, cache.ReflectorOptions{
			Name: s.kind, Logger: &logger, Backoff: backoff(),
		})
		r.RunWithContext(inner)
		cancel()
	}
}

// restart ends the present reflector; run makes the next.
func (s *source[T]) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil {
		s.cancel()
	}
	s.restarts()
}

func (s *source[T]) note(ctx context.Context, err error) {
	if ctx.Err() == nil {
		s.faults.Watch(s.kind, err)
	}
}

// refresh takes in a most recent LIST, so that the store is not older than the
// call.
func (s *source[T]) refresh(ctx context.Context) error {
	opts := metav1.ListOptions{LabelSelector: s.selector, Limit: pageSize}
	var objs []any
	for {
		page, err := s.page(ctx, opts)
		if err != nil {
			return fmt.Errorf("list %s: %w", s.kind, err)
		}
		err = meta.EachListItem(page, func(o runtime.Object) error {
			taken, err := s.store.take(o)
			objs = append(objs, taken)
			return err
		})
		if err != nil {
			return fmt.Errorf("read the list of %s: %w", s.kind, err)
		}
		l, err := meta.ListAccessor(page)
		if err != nil {
			return fmt.Errorf("read the list of %s: %w", s.kind, err)
		}
		if opts.Continue = l.GetContinue(); opts.Continue == "" {
			return s.store.replace(objs, l.GetResourceVersion())
		}
	}
}

func (s *source[T]) page(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return s.list(ctx, opts)
}

// check compares a metadata-only LIST with the store, and once more a little
// later if they differ. A difference seen twice makes the watch anew.
func (s *source[T]) check(ctx context.Context, later time.Duration) error {
	first, err := s.compare(ctx)
	if err != nil || len(first) == 0 {
		return err
	}
	t := time.NewTimer(later)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	second, err := s.compare(ctx)
	if err != nil || !stuck(first, second) {
		return err
	}
	s.log.Warn("the watch stands still, it is made anew", zap.String("kind", s.kind), zap.Int("objects", len(second)))
	s.store.stood()
	if _, back := second[goneBack]; back {
		s.store.forget()
	}
	s.restart()
	return nil
}

func (s *source[T]) compare(ctx context.Context) (map[string]uint64, error) {
	before := s.store.at()
	l, err := list(ctx, s.headers, s.selector, nil)
	s.faults.Request("compare "+s.kind, err)
	if err != nil {
		return nil, fmt.Errorf("list the metadata of %s: %w", s.kind, err)
	}
	return s.store.differences(l, before), nil
}
