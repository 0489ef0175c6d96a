// Package views is the state of all sandboxes as readers hold it: a memory fed
// by a watch of the KV bucket, a read index for exact answers, and the one way
// in which a view is written.
package views

import (
	"sync"
	"time"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// tombstoneLife is how long a deleted key is remembered, so that a reply that
// was on its way does not bring the view back. Longer than any command lives.
const tombstoneLife = 10 * time.Minute

type entry struct {
	view     *sandbox.View
	revision uint64
}

type tombstone struct {
	revision uint64
	at       time.Time
}

// Memory holds views by session, runtime id, label and tenant. The views that it
// hands out are shared: do not change them. Its methods may be called
// concurrently.
type Memory struct {
	mu      sync.RWMutex
	keys    map[string]entry // contract.ViewKey →
	runtime map[string]string
	label   map[string]string
	tenant  map[string]map[string]struct{}
	dead    map[string]tombstone
}

// NewMemory returns an empty one.
func NewMemory() *Memory {
	m := &Memory{}
	m.reset()
	return m
}

func (m *Memory) reset() {
	m.keys = map[string]entry{}
	m.runtime = map[string]string{}
	m.label = map[string]string{}
	m.tenant = map[string]map[string]struct{}{}
	m.dead = map[string]tombstone{}
}

// Merge takes a view in, if it is not older than what is there; revision is its
// place in the bucket. It reports whether readers now see this view.
func (m *Memory) Merge(v *sandbox.View, revision uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.merge(v, revision)
}

func (m *Memory) merge(v *sandbox.View, revision uint64) bool {
	key := contract.ViewKey(v.Tenant, v.Record)
	if d, ok := m.dead[key]; ok {
		if revision <= d.revision {
			return false
		}
		delete(m.dead, key)
	}
	if old, ok := m.keys[key]; ok {
		if c := sandbox.Newer(v, old.view); c < 0 || c == 0 && revision < old.revision {
			return false
		}
		m.unindex(key, old.view)
	}
	m.keys[key] = entry{v, revision}
	m.runtime[v.RuntimeID] = key
	if v.Status != sandbox.StatusStopped {
		m.label[v.Route.Label] = key
	}
	if m.tenant[v.Tenant] == nil {
		m.tenant[v.Tenant] = map[string]struct{}{}
	}
	m.tenant[v.Tenant][key] = struct{}{}
	return true
}

// Delete takes a view out that is not newer than the deletion.
func (m *Memory) Delete(key string, revision uint64, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, d := range m.dead {
		if now.Sub(d.at) > tombstoneLife {
			delete(m.dead, k)
		}
	}
	old, ok := m.keys[key]
	if ok && old.revision > revision {
		return
	}
	m.dead[key] = tombstone{max(revision, m.dead[key].revision), now}
	if ok {
		m.unindex(key, old.view)
		delete(m.keys, key)
	}
}

func (m *Memory) unindex(key string, v *sandbox.View) {
	if m.runtime[v.RuntimeID] == key {
		delete(m.runtime, v.RuntimeID)
	}
	if m.label[v.Route.Label] == key {
		delete(m.label, v.Route.Label)
	}
	delete(m.tenant[v.Tenant], key)
	if len(m.tenant[v.Tenant]) == 0 {
		delete(m.tenant, v.Tenant)
	}
}

// Replace swaps the contents for those of next, which holds the bucket up to
// position. What is here and newer stays, deletions too; what is here, absent
// there and not younger than position goes.
func (m *Memory) Replace(next *Memory, position uint64) {
	next.mu.Lock()
	defer next.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	old, dead := m.keys, m.dead
	m.keys, m.runtime, m.label, m.tenant, m.dead = next.keys, next.runtime, next.label, next.tenant, next.dead
	for key, d := range dead {
		if _, there := m.keys[key]; !there && d.revision > m.dead[key].revision {
			m.dead[key] = d
		}
	}
	for _, e := range old {
		_, there := m.keys[contract.ViewKey(e.view.Tenant, e.view.Record)]
		if there || e.revision > position {
			m.merge(e.view, e.revision)
		}
	}
	next.reset()
}

// Session is the view of a session, or nil.
func (m *Memory) Session(tenant, sessionID string) *sandbox.View {
	v, _ := m.Key(contract.ViewKey(tenant, sandbox.RecordName(tenant, sessionID)))
	return v
}

// Key is the view under a key and its revision, or nil.
func (m *Memory) Key(key string) (*sandbox.View, uint64) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	e := m.keys[key]
	return e.view, e.revision
}

// Runtime is the view of a runtime id, or nil.
func (m *Memory) Runtime(runtimeID string) *sandbox.View {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.keys[m.runtime[runtimeID]].view
}

// Label is the view of the sandbox that is not stopped and has this host label,
// or nil.
func (m *Memory) Label(label string) *sandbox.View {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.keys[m.label[label]].view
}

// Tenant lists a tenant's views, in no order.
func (m *Memory) Tenant(tenant string) []*sandbox.View {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := make([]*sandbox.View, 0, len(m.tenant[tenant]))
	for key := range m.tenant[tenant] {
		out = append(out, m.keys[key].view)
	}
	return out
}

// Keys lists all keys, in no order.
func (m *Memory) Keys() []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := make([]string, 0, len(m.keys))
	for key := range m.keys {
		out = append(out, key)
	}
	return out
}

// Len is the number of views.
func (m *Memory) Len() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.keys)
}
