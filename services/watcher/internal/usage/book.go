// Package usage knows when sandboxes were used: what routers saw pass, and which
// of them their clients have asked for.
package usage

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// mark is what is known of one view key.
type mark struct {
	runtimeID string    // that the traffic is about
	traffic   time.Time // by the router's clock, or by ours when it was told, the later

	claimed    string // the runtime id of the claim
	generation int64
}

// Book is what the activity bucket holds.
type Book struct {
	now func() time.Time

	mu    sync.Mutex
	known bool
	floor time.Time // the bucket's creation: of what was before nothing is known
	marks map[string]mark
}

// NewBook returns one that knows nothing yet; now is the system's clock.
func NewBook(now func() time.Time) *Book { return &Book{now: now, marks: map[string]mark{}} }

// Signs are what is known of the sandbox of a record.
func (b *Book) Signs(key string, r *sandbox.Record) sandbox.Signs {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := sandbox.Signs{Known: b.known, Floor: b.floor}
	m := b.marks[key]
	if m.runtimeID == r.RuntimeID {
		s.Traffic = m.traffic
	}
	begun, _ := r.Beginning()
	s.Claimed = m.claimed == r.RuntimeID && m.generation >= begun
	return s
}

// open begins with a bucket that was made at created: what was known of an
// earlier one stays, for it is no less true.
func (b *Book) open(created time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.floor = created
}

// know says whether all that the bucket holds has been taken in.
func (b *Book) know(yes bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known = yes
}

// take takes in one entry. live: it was written just now, and a router whose
// clock is behind must not make anybody look idle.
func (b *Book) take(key string, value []byte, live bool) error {
	if viewKey, ok := contract.ParseClaimKey(key); ok {
		var c contract.Claim
		if err := json.Unmarshal(value, &c); err != nil {
			return err
		}
		b.change(viewKey, func(m *mark) { m.claimed, m.generation = c.RuntimeID, c.Generation })
		return nil
	}
	if _, _, ok := contract.ParseViewKey(key); !ok {
		return nil // a later version's
	}
	var a contract.Activity
	if err := json.Unmarshal(value, &a); err != nil {
		return err
	}
	if now := b.now(); live && a.Last.Before(now) {
		a.Last = now
	}
	b.change(key, func(m *mark) {
		if m.runtimeID != a.RuntimeID || a.Last.After(m.traffic) {
			m.runtimeID, m.traffic = a.RuntimeID, a.Last
		}
	})
	return nil
}

// drop forgets a key that was deleted or expired.
func (b *Book) drop(key string) {
	if viewKey, ok := contract.ParseClaimKey(key); ok {
		b.change(viewKey, func(m *mark) { m.claimed, m.generation = "", 0 })
		return
	}
	b.change(key, func(m *mark) { m.runtimeID, m.traffic = "", time.Time{} })
}

func (b *Book) change(key string, f func(*mark)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.marks[key]
	f(&m)
	if m == (mark{}) {
		delete(b.marks, key)
		return
	}
	b.marks[key] = m
}
