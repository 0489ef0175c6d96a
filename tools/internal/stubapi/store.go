package stubapi

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
)

var (
	errExists   = errors.New("already exists")
	errMissing  = errors.New("not found")
	errConflict = errors.New("the object has been modified")
	errGone     = errors.New("too old resource version")
)

// object is a typed object with its metadata.
type object interface {
	runtime.Object
	metav1.Object
}

// entry is one version of one object. It never changes.
type entry struct {
	object
	rv uint64
}

func (e *entry) key() types.NamespacedName {
	return types.NamespacedName{Namespace: e.GetNamespace(), Name: e.GetName()}
}

// event is a change: old is nil for the first version, next for the last.
type event struct {
	old, next *entry
	rv        uint64
}

// logLength bounds how far back a watch may begin, in changes.
const logLength = 1 << 17

// collection is all of one resource, in all namespaces.
type collection struct {
	objects map[types.NamespacedName]*entry
	labels  map[string]map[types.NamespacedName]*entry // by label=value
	log     []event
	trimmed uint64        // version of the newest event that is not in the log any more
	changed chan struct{} // closed by the next change
}

// store holds everything under one lock, so that versions are in the order in
// which anybody sees them.
type store struct {
	mu          sync.Mutex
	version     uint64
	collections map[string]*collection
	pages       map[string]page
}

func newStore() *store {
	// Versions are never small, as those of a cluster that has lived.
	s := &store{version: 1000, collections: map[string]*collection{}, pages: map[string]page{}}
	for name := range resources {
		s.collections[name] = &collection{objects: map[types.NamespacedName]*entry{}, labels: map[string]map[types.NamespacedName]*entry{}, changed: make(chan struct{})}
	}
	return s
}

func (s *store) create(resource, namespace string, o object) (*entry, error) {
	if o.GetName() == "" {
		return nil, errors.New("metadata.name: Required value")
	}
	o.SetNamespace(namespace)
	o.SetUID(uuid.NewUUID())
	o.SetCreationTimestamp(metav1.NewTime(time.Now().UTC().Truncate(time.Second)))
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.collections[resource]
	if c.objects[types.NamespacedName{Namespace: namespace, Name: o.GetName()}] != nil {
		return nil, errExists
	}
	return s.put(c, nil, o), nil
}

// update swaps the object for what change makes of it, which must be another one.
func (s *store) update(resource string, key types.NamespacedName, change func(object) (object, error)) (*entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.collections[resource]
	old := c.objects[key]
	if old == nil {
		return nil, errMissing
	}
	next, err := change(old.object)
	if err != nil {
		return nil, err
	}
	if rv := next.GetResourceVersion(); rv != "" && rv != old.GetResourceVersion() || next.GetUID() != "" && next.GetUID() != old.GetUID() {
		return nil, errConflict
	}
	next.SetName(key.Name)
	next.SetNamespace(key.Namespace)
	next.SetUID(old.GetUID())
	next.SetCreationTimestamp(old.GetCreationTimestamp())
	return s.put(c, old, next), nil
}

// put stores a version and tells of it. The lock is held.
func (s *store) put(c *collection, old *entry, o object) *entry {
	next := s.next(o)
	c.drop(old)
	c.objects[next.key()] = next
	for k, v := range next.GetLabels() {
		pair := k + "=" + v
		if c.labels[pair] == nil {
			c.labels[pair] = map[types.NamespacedName]*entry{}
		}
		c.labels[pair][next.key()] = next
	}
	c.tell(event{old: old, next: next, rv: next.rv})
	return next
}

// next gives an object the next version. The lock is held.
func (s *store) next(o object) *entry {
	s.version++
	o.SetResourceVersion(strconv.FormatUint(s.version, 10))
	o.SetManagedFields(nil)
	return &entry{o, s.version}
}

func (s *store) remove(resource string, key types.NamespacedName, pre *metav1.Preconditions) (*entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.collections[resource]
	old := c.objects[key]
	if old == nil {
		return nil, errMissing
	}
	if pre != nil && (pre.UID != nil && *pre.UID != old.GetUID() || pre.ResourceVersion != nil && *pre.ResourceVersion != old.GetResourceVersion()) {
		return nil, errConflict
	}
	// The last version carries the version of the deletion, as etcd's does.
	last := s.next(old.DeepCopyObject().(object))
	c.drop(old)
	c.tell(event{old: last, rv: last.rv})
	return old, nil
}

// drop takes a version out, nil: none.
func (c *collection) drop(e *entry) {
	if e == nil {
		return
	}
	delete(c.objects, e.key())
	for k, v := range e.GetLabels() {
		pair := k + "=" + v
		if delete(c.labels[pair], e.key()); len(c.labels[pair]) == 0 {
			delete(c.labels, pair)
		}
	}
}

// near is a small part of all in which everything is that a selector selects. The
// real server has no such index: it looks at all of a namespace.
func (c *collection) near(sel labels.Selector) map[types.NamespacedName]*entry {
	few := c.objects
	if needs, selectable := sel.Requirements(); selectable {
		for _, r := range needs {
			values := r.Values()
			if op := r.Operator(); op != selection.Equals && op != selection.DoubleEquals && (op != selection.In || len(values) != 1) {
				continue
			}
			for value := range values {
				if some := c.labels[r.Key()+"="+value]; len(some) < len(few) {
					few = some
				}
			}
		}
	}
	return few
}

func (c *collection) tell(e event) {
	c.log = append(c.log, e)
	if len(c.log) > logLength {
		half := len(c.log) / 2
		c.trimmed = c.log[half-1].rv
		c.log = slices.Clone(c.log[half:])
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

func (s *store) get(resource string, key types.NamespacedName) (*entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.collections[resource].objects[key]; e != nil {
		return e, nil
	}
	return nil, errMissing
}

// list is a snapshot, by name, and its version.
func (s *store) list(resource, namespace string, sel labels.Selector) ([]*entry, uint64) {
	s.mu.Lock()
	all, version := slices.Collect(maps.Values(s.collections[resource].near(sel))), s.version
	s.mu.Unlock()
	all = slices.DeleteFunc(all, func(e *entry) bool { return !selects(e, namespace, sel) })
	slices.SortFunc(all, func(a, b *entry) int {
		if a.GetName() < b.GetName() {
			return -1
		}
		return 1 // in one namespace no name is there twice
	})
	return all, version
}

func selects(e *entry, namespace string, sel labels.Selector) bool {
	return e != nil && (namespace == "" || e.GetNamespace() == namespace) && sel.Matches(labels.Set(e.GetLabels()))
}

// since are the events after a version, and what is closed by the next one.
func (s *store) since(resource string, version uint64) ([]event, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.collections[resource]
	if version < c.trimmed {
		return nil, nil, errGone
	}
	i, _ := slices.BinarySearchFunc(c.log, version+1, func(e event, v uint64) int {
		switch {
		case e.rv < v:
			return -1
		case e.rv > v:
			return 1
		}
		return 0
	})
	return slices.Clone(c.log[i:]), c.changed, nil
}

// forget drops all events: who follows has missed some.
func (s *store) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	for _, c := range s.collections {
		c.log, c.trimmed = nil, s.version
		close(c.changed)
		c.changed = make(chan struct{})
	}
}
