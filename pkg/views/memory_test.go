package views_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
)

const tenant = "acme"

var born = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func runtimeID(n int) string {
	b := []byte("aaaaaaaaaaaaaaaa")
	for i := range b {
		b[i] = byte('a' + n%26)
		n /= 26
	}
	return string(b)
}

// newView is a view of a session; what is newer has a higher order.
func newView(session string, order uint64, change ...func(*sandbox.View)) *sandbox.View {
	v := &sandbox.View{
		Record: sandbox.RecordName(tenant, session), RecordUID: "uid-" + session, Tenant: tenant, SessionID: session, RuntimeID: runtimeID(0),
		Generation: 1000, Incarnation: 1, Order: order, Status: sandbox.StatusStarting, PodStatus: sandbox.PodPending,
		Route:      sandbox.Route{Label: "label-" + session, URL: "http://" + session, WorkHosts: map[string]int{}},
		SessionKey: "key-of-" + session, CreatedAt: born, StatusDetail: fmt.Sprint("detail ", order),
	}
	for _, f := range change {
		f(v)
	}
	return v
}

func keyOf(v *sandbox.View) string { return contract.ViewKey(v.Tenant, v.Record) }

func generation(n int64) func(*sandbox.View) { return func(v *sandbox.View) { v.Generation = n } }

func ofRuntime(n int) func(*sandbox.View) {
	return func(v *sandbox.View) {
		v.RuntimeID, v.Route.Label, v.CreatedAt = runtimeID(n), fmt.Sprint("label-", n), born.Add(time.Duration(n)*time.Second)
	}
}

// of is the view of what a memory returned, or nil.
func of(s *views.Seen) *sandbox.View {
	if s == nil {
		return nil
	}
	return s.View
}

func status(s sandbox.Status) func(*sandbox.View) { return func(v *sandbox.View) { v.Status = s } }

func TestMemoryTakesTheNewest(t *testing.T) {
	t.Parallel()
	present := newView("s", 10)
	for name, c := range map[string]struct {
		view     *sandbox.View
		revision uint64
		taken    bool
	}{
		"newer":                               {newView("s", 11), 6, true},
		"newer, from an older revision":       {newView("s", 11), 4, true},
		"a newer generation":                  {newView("s", 1, generation(1001)), 6, true},
		"a newer incarnation":                 {newView("s", 1, func(v *sandbox.View) { v.Incarnation++ }), 6, true},
		"equal, a later revision":             {newView("s", 10), 6, true},
		"equal, the same revision":            {newView("s", 10), 5, true},
		"equal, an earlier revision":          {newView("s", 10), 4, false},
		"older, a later revision":             {newView("s", 9), 6, false},
		"an older generation, a higher order": {newView("s", 99, generation(999)), 6, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := views.NewMemory()
			if !m.Merge(present, 5) {
				t.Fatal("the first is not taken")
			}
			if got := m.Merge(c.view, c.revision); got != c.taken {
				t.Errorf("taken: %v", got)
			}
			want := present
			if c.taken {
				want = c.view
			}
			if got := of(m.Session(tenant, "s")); got != want {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestMemoryDeletes(t *testing.T) {
	t.Parallel()
	v := newView("s", 10)
	key := keyOf(v)
	m := views.NewMemory()
	m.Merge(v, 5)
	m.Delete(key, 4, born)
	if m.Len() != 1 {
		t.Fatal("a deletion took what was written after it")
	}
	m.Delete(key, 6, born)
	if m.Len() != 0 || m.Session(tenant, "s") != nil {
		t.Fatal("it is still there")
	}
	if m.Merge(newView("s", 99), 6) || m.Merge(newView("s", 99), 5) {
		t.Error("a reply that was on its way brought it back")
	}
	m.Delete(key, 3, born) // an older deletion says nothing new
	if m.Merge(newView("s", 99), 6) {
		t.Error("an older deletion made the later one forgotten")
	}
	if !m.Merge(newView("s", 1), 7) {
		t.Error("what was written after the deletion is not taken")
	}
	m.Delete("acme.unknown", 9, born)
	if m.Len() != 1 {
		t.Errorf("%d views", m.Len())
	}
}

func TestMemoryForgetsOldDeletions(t *testing.T) {
	t.Parallel()
	v := newView("s", 10)
	m := views.NewMemory()
	m.Delete(keyOf(v), 6, born)
	m.Delete("acme.other", 7, born.Add(9*time.Minute))
	if m.Merge(v, 5) {
		t.Fatal("forgotten after 9 minutes")
	}
	m.Delete("acme.other", 8, born.Add(11*time.Minute))
	if !m.Merge(v, 5) { // no command lives that long
		t.Error("not forgotten")
	}
}

func TestMemoryIndexes(t *testing.T) {
	t.Parallel()
	m := views.NewMemory()
	a := newView("s", 1, ofRuntime(1))
	m.Merge(a, 1)
	if of(m.Runtime(runtimeID(1))) != a || of(m.Label("label-1")) != a || len(ofTenant(m, tenant)) != 1 || of(m.Session(tenant, "s")) != a {
		t.Error("not found")
	}
	stopped := newView("s", 2, ofRuntime(1), status(sandbox.StatusStopped))
	m.Merge(stopped, 2)
	if of(m.Runtime(runtimeID(1))) != stopped || m.Label("label-1") != nil {
		t.Error("a stopped sandbox has a label, or no runtime id")
	}
	b := newView("s", 1, ofRuntime(2), generation(1001))
	m.Merge(b, 3)
	if m.Runtime(runtimeID(1)) != nil || of(m.Runtime(runtimeID(2))) != b || of(m.Label("label-2")) != b || m.Len() != 1 {
		t.Error("the session's new sandbox did not take the place of the old")
	}
	for what, got := range map[string]*views.Seen{
		"runtime": m.Runtime(""), "label": m.Label(""), "session": m.Session(tenant, "x"), "another tenant's session": m.Session("default", "s"),
	} {
		if got != nil {
			t.Errorf("%s: %+v", what, got)
		}
	}
	if got := ofTenant(m, "default"); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

// A label that a stopped sandbox had may be another's now.
func TestMemoryKeepsTheLabelOfTheLiving(t *testing.T) {
	t.Parallel()
	m := views.NewMemory()
	old := newView("old", 1, func(v *sandbox.View) { v.Route.Label = "shared" }, status(sandbox.StatusStopped), ofRuntime(1))
	old.Route.Label = "shared"
	living := newView("new", 1, ofRuntime(2))
	living.Route.Label = "shared"
	m.Merge(living, 1)
	m.Merge(old, 2)
	m.Delete(keyOf(old), 3, born)
	if of(m.Label("shared")) != living {
		t.Error("the living one lost its label")
	}
}

func TestMemoryReplace(t *testing.T) {
	t.Parallel()
	m, next := views.NewMemory(), views.NewMemory()
	m.Merge(newView("gone", 1), 5)
	m.Merge(newView("young", 1), 101)      // a reply that came after what next holds
	m.Merge(newView("newer here", 9), 102) //
	m.Merge(newView("older here", 1), 6)   //
	m.Merge(newView("newer, of the bucket before", 9), 7)
	m.Delete(keyOf(newView("deleted", 1)), 50, born)
	next.Merge(newView("newer here", 8), 90)
	next.Merge(newView("older here", 2), 91)
	next.Merge(newView("newer, of the bucket before", 8), 92)
	next.Merge(newView("only there", 1), 93)
	next.Delete(keyOf(newView("deleted there", 1)), 94, born)
	m.Replace(next, 100)
	want := map[string]uint64{"young": 1, "newer here": 9, "older here": 2, "newer, of the bucket before": 9, "only there": 1}
	for session, order := range want {
		if v := m.Session(tenant, session); v == nil || v.Order != order {
			t.Errorf("%s: %+v", session, v)
		}
	}
	if m.Len() != len(want) {
		t.Errorf("%v", m.Keys())
	}
	if next.Len() != 0 {
		t.Error("the contents are in both")
	}
	if m.Merge(newView("deleted there", 1), 94) {
		t.Error("a deletion of the new contents is not known")
	}
	if m.Merge(newView("deleted", 1), 50) {
		t.Error("a deletion from before was forgotten")
	}
	if !m.Merge(newView("deleted", 1), 95) {
		t.Error("what was written after the deletion is not taken")
	}
}

// model is a memory told in the plainest way.
type model struct {
	views map[string]entry
	dead  map[string]uint64
}

type entry struct {
	view     *sandbox.View
	revision uint64
}

func newModel() *model { return &model{map[string]entry{}, map[string]uint64{}} }

func (m *model) merge(v *sandbox.View, revision uint64) bool {
	key := keyOf(v)
	if d, ok := m.dead[key]; ok && revision <= d {
		return false
	}
	if e, ok := m.views[key]; ok {
		if c := sandbox.Newer(v, e.view); c < 0 || c == 0 && revision < e.revision {
			return false
		}
	}
	delete(m.dead, key)
	m.views[key] = entry{v, revision}
	return true
}

func (m *model) delete(key string, revision uint64) {
	if e, ok := m.views[key]; ok && e.revision > revision {
		return
	}
	delete(m.views, key)
	m.dead[key] = max(m.dead[key], revision)
}

func (m *model) replace(next *model, position uint64) {
	old := *m
	*m = *next
	for key, revision := range old.dead {
		if _, there := m.views[key]; !there {
			m.dead[key] = max(m.dead[key], revision)
		}
	}
	for key, e := range old.views {
		if _, there := m.views[key]; there || e.revision > position {
			m.merge(e.view, e.revision)
		}
	}
}

// compare checks all that a memory shows.
func (m *model) compare(t *testing.T, got *views.Memory) {
	t.Helper()
	if got.Len() != len(m.views) || len(got.Keys()) != len(m.views) {
		t.Fatalf("%d views, %d keys, want %d", got.Len(), len(got.Keys()), len(m.views))
	}
	tenants := map[string]int{}
	for key, e := range m.views {
		tenants[e.view.Tenant]++
		s := got.Key(key)
		if of(s) != e.view || s.Revision != e.revision {
			t.Fatalf("%s: %+v, want %+v at %d", key, s, e.view, e.revision)
		}
		if got.Session(e.view.Tenant, e.view.SessionID) != s || got.Runtime(e.view.RuntimeID) != s || !slices.Contains(ofTenant(got, e.view.Tenant), s) {
			t.Fatalf("%s is not found by session, runtime id or tenant", key)
		}
		want := e.view
		if want.Status == sandbox.StatusStopped {
			want = nil
		}
		if v := of(got.Label(e.view.Route.Label)); v != want {
			t.Fatalf("label %s: %+v", e.view.Route.Label, v)
		}
	}
	for _, name := range []string{tenant, "default", "none"} {
		l := ofTenant(got, name)
		if n := len(l); n != tenants[name] {
			t.Fatalf("tenant %s has %d views, want %d", name, n, tenants[name])
		}
		if !slices.IsSortedFunc(l, func(a, b *views.Seen) int { return a.CreatedAt.Compare(b.CreatedAt) }) {
			t.Fatalf("the views of tenant %s are not in the order of their creation", name)
		}
	}
}

func TestMemoryAgainstTheModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		got, want := views.NewMemory(), newModel()
		used := map[string]bool{}
		random := func() *sandbox.View {
			key := r.IntN(5)
			v := newView(fmt.Sprint("s", key), uint64(r.IntN(4)), generation(int64(1000+r.IntN(3))))
			if key > 2 {
				v.Tenant = "default"
				v.Record = sandbox.RecordName("default", v.SessionID)
			}
			// A runtime id, and its label, is one session's; each generation has its own.
			ofRuntime(10*key + int(v.Generation-1000))(v)
			if r.IntN(4) == 0 {
				v.Status = sandbox.StatusStopped
			}
			used[v.RuntimeID] = true
			return v
		}
		for range 150 {
			switch n := r.IntN(20); {
			case n < 12:
				v, revision := random(), uint64(r.IntN(40))
				if a, b := got.Merge(v, revision), want.merge(v, revision); a != b {
					t.Fatalf("seed %d: merged: %v, want %v", seed, a, b)
				}
			case n < 18:
				key, revision := keyOf(random()), uint64(r.IntN(40))
				got.Delete(key, revision, born)
				want.delete(key, revision)
			default:
				next, model := views.NewMemory(), newModel()
				for range r.IntN(8) {
					v, revision := random(), uint64(40+r.IntN(10))
					next.Merge(v, revision)
					model.merge(v, revision)
					if r.IntN(3) == 0 {
						key, revision := keyOf(random()), uint64(40+r.IntN(10))
						next.Delete(key, revision, born)
						model.delete(key, revision)
					}
				}
				position := uint64(r.IntN(50))
				got.Replace(next, position)
				want.replace(model, position)
			}
			want.compare(t, got)
			for id := range used { // what is not shown is not found
				if v := got.Runtime(id); v != nil && want.views[keyOf(v.View)].view != v.View {
					t.Fatalf("seed %d: runtime %s leads to %+v", seed, id, v)
				}
			}
		}
	}
}

// Readers may look while all changes; run with -race.
func TestMemoryIsConcurrent(t *testing.T) {
	t.Parallel()
	m := views.NewMemory()
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for i := range 200 {
				v := newView(fmt.Sprint("s", i%7), uint64(i), ofRuntime(i%7))
				m.Merge(v, uint64(i))
				m.Session(tenant, "s1")
				m.Runtime(runtimeID(1))
				m.Label("label-1")
				ofTenant(m, tenant)
				m.Keys()
				if i%10 == n {
					m.Delete(keyOf(v), uint64(i), born)
				}
				if i%50 == n {
					next := views.NewMemory()
					next.Merge(v, uint64(i))
					m.Replace(next, uint64(i))
				}
			}
		})
	}
	wg.Wait()
}
