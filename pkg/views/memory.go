// Package views is the state of all sandboxes as readers hold it: a memory fed
// by a watch of the KV bucket, a read index for exact answers, and the one way
// in which a view is written.
package views

import (
	"slices"
	"sync"
	"time"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// tombstoneLife is how long a deleted key is remembered, so that a reply that
// was on its way does not bring the view back. Longer than any command lives.
const tombstoneLife = 10 * time.Minute

type tombstone struct {
	revision uint64
	at       time.Time
}

// Memory holds views by session, runtime id, label and tenant. The views that it
// hands out are shared: do not change them. Its methods may be called
// concurrently.
type Memory struct {
	mu      sync.RWMutex
	keys    map[string]*Seen  // contract.ViewKey →
	session map[session]*Seen // so that who asks by session needs no name of a record
	runtime map[string]*Seen
	label   map[string]*Seen
	tenant  map[string]row
	dead    map[string]tombstone
}

type session struct{ tenant, id string }

// NewMemory returns an empty one.
func NewMemory() *Memory {
	m := &Memory{}
	m.reset()
	return m
}

func (m *Memory) reset() {
	m.keys = map[string]*Seen{}
	m.session = map[session]*Seen{}
	m.runtime = map[string]*Seen{}
	m.label = map[string]*Seen{}
	m.tenant = map[string]row{}
	m.dead = map[string]tombstone{}
}

// Merge takes a view in, if it is not older than what is there; revision is its
// place in the bucket. It reports whether readers now see this view.
func (m *Memory) Merge(v *sandbox.View, revision uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.merge(&Seen{View: v, Revision: revision})
}

func (m *Memory) merge(s *Seen) bool {
	key := contract.ViewKey(s.Tenant, s.Record)
	if d, ok := m.dead[key]; ok {
		if s.Revision <= d.revision {
			return false
		}
		delete(m.dead, key)
	}
	old := m.keys[key]
	if old != nil {
		if c := sandbox.Newer(s.View, old.View); c < 0 || c == 0 && s.Revision < old.Revision {
			return false
		}
		m.unindex(old)
	}
	m.index(key, s)
	return true
}

func (m *Memory) index(key string, s *Seen) {
	m.keys[key] = s
	m.session[session{s.Tenant, s.SessionID}] = s
	m.runtime[s.RuntimeID] = s
	if s.Status != sandbox.StatusStopped {
		m.label[s.Route.Label] = s
	}
	m.tenant[s.Tenant] = m.tenant[s.Tenant].insert(s)
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
	old := m.keys[key]
	if old != nil && old.Revision > revision {
		return
	}
	m.dead[key] = tombstone{max(revision, m.dead[key].revision), now}
	if old != nil {
		m.unindex(old)
		delete(m.keys, key)
	}
}

// unindex leaves what another record has taken since.
func (m *Memory) unindex(s *Seen) {
	delete(m.session, session{s.Tenant, s.SessionID})
	if m.runtime[s.RuntimeID] == s {
		delete(m.runtime, s.RuntimeID)
	}
	if m.label[s.Route.Label] == s {
		delete(m.label, s.Route.Label)
	}
	if left := m.tenant[s.Tenant].remove(s); len(left) > 0 {
		m.tenant[s.Tenant] = left
	} else {
		delete(m.tenant, s.Tenant)
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
	m.keys, m.session, m.runtime, m.label, m.tenant, m.dead = next.keys, next.session, next.runtime, next.label, next.tenant, next.dead
	for key, d := range dead {
		if _, there := m.keys[key]; !there && d.revision > m.dead[key].revision {
			m.dead[key] = d
		}
	}
	for key, s := range old {
		if m.keys[key] != nil || s.Revision > position {
			m.merge(s)
		}
	}
	next.reset()
}

// Session is the view of a session, or nil.
func (m *Memory) Session(tenant, sessionID string) *Seen {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.session[session{tenant, sessionID}]
}

// Sessions are the views of sessions at one moment, by position; nil for what is
// not there.
func (m *Memory) Sessions(tenant string, ids []string) []*Seen {
	out := make([]*Seen, len(ids))
	m.mu.RLock()
	defer m.mu.RUnlock()
	for i, id := range ids {
		out[i] = m.session[session{tenant, id}]
	}
	return out
}

// Key is the view under a key, or nil.
func (m *Memory) Key(key string) *Seen {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.keys[key]
}

// Runtime is the view of a runtime id, or nil.
func (m *Memory) Runtime(runtimeID string) *Seen {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.runtime[runtimeID]
}

// Label is the view of the sandbox that is not stopped and has this host label,
// or nil.
func (m *Memory) Label(label string) *Seen {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.label[label]
}

// Shelves lists a tenant's views, the oldest sandbox first, as parts that stay as they
// are.
func (m *Memory) Shelves(tenant string) []*Shelf {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Clone(m.tenant[tenant])
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
