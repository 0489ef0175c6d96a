package podwatch

import (
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/sandbar-io/sandbar/pkg/kube"
)

// entry is one object as the store holds it.
type entry[T any] struct {
	rv    uint64
	value T
}

// store holds the objects of one kind, decoded, indexed by the record that they
// belong to. A reflector feeds it through cache.ReflectorStore; a live list may
// be put in beside it. It never goes back: what is not younger than all it has
// taken in is dropped, so a list from an API server that lags, or events from
// before a live list, change nothing. version is therefore the resourceVersion
// up to which it is complete, and an informer's LastSyncResourceVersion is not:
// that one runs ahead of the indexer.
type store[T any] struct {
	decode  func(obj any) T
	record  func(T) string // the record's name, "" for none; nil: the object's own
	changed func(T)        // told of every value that came or went

	mu       sync.RWMutex
	byName   map[string]*entry[T]
	byRecord map[string][]string // names: one, as a rule, so that a set would cost more than it saves
	version  uint64
	doubted  bool // the next list may hold others of the same versions
	behind   bool // its watch stood still, and has not begun anew
	once     sync.Once
	synced   chan struct{}
}

func newStore[T any](decode func(any) T, record func(T) string, changed func(T)) *store[T] {
	return &store[T]{
		decode: decode, record: record, changed: changed,
		byName: map[string]*entry[T]{}, byRecord: map[string][]string{}, synced: make(chan struct{}),
	}
}

// slim is an object of a list of which only what is read stays in memory.
type slim[T any] struct {
	metav1.PartialObjectMetadata
	entry[T]
}

// Transformer lets the reflector drop what nobody reads before it gathers a
// whole list.
func (s *store[T]) Transformer() cache.TransformFunc {
	return func(obj any) (any, error) { return s.take(obj) }
}

// take decodes an object of a list. One that the store has is not decoded again:
// records are JSON, and a full pass lists all of them.
func (s *store[T]) take(obj any) (*slim[T], error) {
	if taken, ok := obj.(*slim[T]); ok {
		return taken, nil
	}
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	out := &slim[T]{entry: entry[T]{rv: kube.Order(m.GetResourceVersion())}}
	out.Namespace, out.Name, out.ResourceVersion = m.GetNamespace(), m.GetName(), m.GetResourceVersion()
	s.mu.RLock()
	had := s.byName[out.Name]
	if s.doubted {
		had = nil
	}
	s.mu.RUnlock()
	if had != nil && had.rv == out.rv && out.rv > 0 {
		out.value = had.value
	} else {
		out.value = s.decode(obj)
	}
	return out, nil
}

// Add takes an object that a watch showed.
func (s *store[T]) Add(obj any) error { return s.put(obj) }

// Update takes an object that a watch showed changed.
func (s *store[T]) Update(obj any) error { return s.put(obj) }

func (s *store[T]) put(obj any) error {
	m, err := meta.Accessor(obj)
	if err != nil {
		return err
	}
	rv, v := kube.Order(m.GetResourceVersion()), s.decode(obj)
	s.mu.Lock()
	if rv <= s.version {
		s.mu.Unlock()
		return nil
	}
	s.version = rv
	old := s.set(m.GetName(), &entry[T]{rv, v})
	s.mu.Unlock()
	if old != nil {
		s.changed(old.value)
	}
	s.changed(v)
	return nil
}

// Delete takes an object that a watch showed gone; its resourceVersion is that
// of the deletion.
func (s *store[T]) Delete(obj any) error {
	m, err := meta.Accessor(obj)
	if err != nil {
		return err
	}
	rv := kube.Order(m.GetResourceVersion())
	s.mu.Lock()
	if rv <= s.version {
		s.mu.Unlock()
		return nil
	}
	s.version = rv
	old := s.unset(m.GetName())
	s.mu.Unlock()
	if old != nil {
		s.changed(old.value)
	}
	return nil
}

// Replace takes the whole list with which a watch begins.
func (s *store[T]) Replace(objs []any, resourceVersion string) error {
	if err := s.replace(objs, resourceVersion); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behind = false // where what was here is younger still, the watch goes on from the list
	return nil
}

// replace takes a whole list.
func (s *store[T]) replace(objs []any, resourceVersion string) error {
	rv := kube.Order(resourceVersion)
	next := make(map[string]*entry[T], len(objs))
	for _, obj := range objs {
		taken, err := s.take(obj)
		if err != nil {
			return err
		}
		next[taken.Name] = &entry[T]{taken.rv, taken.value}
	}
	for _, v := range s.swap(next, rv) {
		s.changed(v)
	}
	return nil
}

// swap makes next the contents and returns the values that differ.
func (s *store[T]) swap(next map[string]*entry[T], rv uint64) []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rv < s.version {
		return nil
	}
	var out []T
	for name, old := range s.byName {
		if e, ok := next[name]; !ok || e.rv != old.rv || s.doubted {
			out = append(out, old.value)
			s.unset(name)
		}
	}
	for name, e := range next {
		if _, ok := s.byName[name]; !ok {
			out = append(out, e.value)
			s.set(name, e)
		}
	}
	s.version, s.doubted = rv, false
	s.once.Do(func() { close(s.synced) })
	return out
}

// Bookmark: the watch has shown all up to here.
func (s *store[T]) Bookmark(resourceVersion string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version = max(s.version, kube.Order(resourceVersion))
	return nil
}

// Resync does nothing: the observer looks at all keys by itself.
func (s *store[T]) Resync() error { return nil }

// stood notes that the watch has stood still. What is here is old until it begins anew.
func (s *store[T]) stood() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behind = true
}

func (s *store[T]) isBehind() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.behind
}

// forget lets the next list in whatever its version: the cluster's own went
// back, as it does when etcd is restored from a backup.
func (s *store[T]) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version, s.doubted = 0, true
}

func (s *store[T]) set(name string, e *entry[T]) (old *entry[T]) {
	old = s.unset(name)
	s.byName[name] = e
	if s.record != nil {
		r := s.record(e.value)
		s.byRecord[r] = append(s.byRecord[r], name)
	}
	return old
}

// unset returns what it took out, or nil.
func (s *store[T]) unset(name string) *entry[T] {
	old := s.byName[name]
	if old == nil {
		return nil
	}
	delete(s.byName, name)
	if s.record == nil {
		return old
	}
	r := s.record(old.value)
	left := slices.DeleteFunc(s.byRecord[r], func(n string) bool { return n == name })
	if s.byRecord[r] = left; len(left) == 0 {
		delete(s.byRecord, r)
	}
	return old
}

// of lists the objects of a record and the version at which they are so.
func (s *store[T]) of(record string) ([]T, uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	names := s.byRecord[record]
	if s.record == nil {
		names = []string{record}
	}
	var out []T
	for _, name := range names {
		if e := s.byName[name]; e != nil {
			out = append(out, e.value)
		}
	}
	return out, s.version
}

// at is the version up to which the store is complete.
func (s *store[T]) at() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.version
}

// all lists everything, in no order.
func (s *store[T]) all() []T {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]T, 0, len(s.byName))
	for _, e := range s.byName {
		out = append(out, e.value)
	}
	return out
}
