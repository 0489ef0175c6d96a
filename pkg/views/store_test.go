package views_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
)

func types(v *sandbox.View) []sandbox.EventType {
	var out []sandbox.EventType
	for _, t := range v.Transitions {
		out = append(out, t.Type)
	}
	return out
}

// young is a view of a sandbox that was made after the bucket.
func young(session string, order uint64, change ...func(*sandbox.View)) *sandbox.View {
	v := newView(session, order, change...)
	v.CreatedAt = time.Now().Add(time.Hour)
	return v
}

func TestPutCreates(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	v := young("s", 1)
	p := b.put(v)
	if p.Revision == 0 || p.View.SessionKey != v.SessionKey || !p.Created.Equal(b.created()) {
		t.Errorf("%+v", p)
	}
	if got := types(p.View); !slices.Equal(got, []sandbox.EventType{sandbox.EventRequested, sandbox.EventStarting}) {
		t.Errorf("%v", got)
	}
	e, err := b.kv().Get(t.Context(), keyOf(v))
	if err != nil {
		t.Fatal(err)
	}
	if s := string(e.Value()); len(s) == 0 || e.Revision() != p.Revision || strings.Contains(s, v.SessionKey) {
		t.Errorf("%s at %d", s, e.Revision())
	}
	read, err := b.store().Read(t.Context(), keyOf(v))
	if err != nil || read.Revision != p.Revision || !sandbox.SameForReaders(read.View, p.View) || read.View.SessionKey != v.SessionKey {
		t.Errorf("%+v, %v", read, err)
	}
}

// A key that is absent is made only for a record that a GET, made after the
// revision was read, shows.
func TestPutAsksForTheRecord(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	away := errors.New("the API server is away")
	for name, c := range map[string]struct {
		live bool
		err  error
		omit sandbox.Omit
		want error
	}{
		"live":                {true, nil, 0, nil},
		"moved":               {false, nil, 0, views.ErrMoved},
		"unknown":             {false, away, 0, away},
		"the rule is omitted": {false, nil, sandbox.OmitLiveKeyCreate, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := young(name, 1)
			src := source(v)
			asked := 0
			src.Live = func(context.Context) (bool, error) { asked++; return c.live, c.err }
			store := views.NewStore(b.conn.JS, sealer(t, 'a'), c.omit)
			p, err := store.Put(t.Context(), keyOf(v), src, time.Now())
			if !errors.Is(err, c.want) || (err == nil) != (p.View != nil) {
				t.Fatalf("%+v, %v", p, err)
			}
			if want := 1; c.omit == 0 && asked != want || c.omit != 0 && asked != 0 {
				t.Errorf("asked %d times", asked)
			}
			_, err = b.kv().Get(t.Context(), keyOf(v))
			if written := err == nil; written != (c.want == nil) {
				t.Errorf("written: %v, %v", written, err)
			}
			if c.want != nil {
				return
			}
			next := young(name, 2)
			if p, err = store.Put(t.Context(), keyOf(v), source(next), time.Now()); err != nil || p.View.Order != 2 {
				t.Errorf("%+v, %v", p, err)
			}
			if asked > 1 {
				t.Error("it asks where the key is present")
			}
		})
	}
}

func TestPutKeepsTheNewest(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	present := b.put(young("s", 10, status(sandbox.StatusPaused)))
	for _, c := range []struct { // one after the other
		name    string
		view    *sandbox.View
		written bool
	}{
		{"older", young("s", 9), false},
		{"an older generation", young("s", 99, generation(999)), false},
		{"what readers cannot tell", same(present.View, 11), false},
		{"equal", same(present.View, 10), false},
		{"equal in order, another status", young("s", 10, status(sandbox.StatusStopped)), true},
		{"newer", young("s", 11), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, err := b.store().Read(t.Context(), keyOf(c.view))
			if err != nil {
				t.Fatal(err)
			}
			p := b.put(c.view)
			if written := p.Revision != before.Revision; written != c.written {
				t.Errorf("written: %v", written)
			}
			want := before.View
			if c.written {
				want = c.view
			}
			if p.View.Order != want.Order || p.View.Status != want.Status {
				t.Errorf("the bucket holds %+v", p.View)
			}
		})
	}
}

func same(v *sandbox.View, order uint64) *sandbox.View {
	v = v.Clone()
	v.Order = order
	return v
}

// Observe is given what the bucket holds, so that a blip can be told.
func TestPutShowsThePreviousView(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.put(young("s", 1))
	v := young("s", 2)
	src := source(v)
	src.Observe = func(prev *sandbox.View) sandbox.View {
		if prev == nil || prev.Order != 1 || prev.SessionKey != v.SessionKey {
			t.Errorf("%+v", prev)
		}
		return *v.Clone()
	}
	if _, err := b.store().Put(t.Context(), keyOf(v), src, time.Now()); err != nil {
		t.Fatal(err)
	}
}

// Writers that race for one key: the newest view wins, and each change of level
// is told once, in order.
func TestPutConcurrently(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	statuses := []sandbox.Status{sandbox.StatusStarting, sandbox.StatusRunning, sandbox.StatusError}
	const writers, each = 3, 20
	var mu sync.Mutex
	var told []sandbox.Transition
	var wg sync.WaitGroup
	for n := range writers {
		wg.Go(func() {
			store := views.NewStore(b.conn.JS, sealer(t, 'a'), 0)
			for i := range each {
				order := uint64(writers*i + n)
				v := young("s", order, status(statuses[order%3]))
				v.CreatedAt = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
				p, err := store.Put(t.Context(), keyOf(v), source(v), time.Now())
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, tr := range p.View.Transitions {
					if !slices.Contains(told, tr) {
						told = append(told, tr)
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	p, err := b.store().Read(t.Context(), keyOf(newView("s", 0)))
	if err != nil || p.View.Order != writers*each-1 {
		t.Fatalf("the bucket ends with %+v, %v", p.View, err)
	}
	slices.SortFunc(told, func(a, b sandbox.Transition) int { return int(a.Number - b.Number) })
	for i, tr := range told {
		if tr.Number != int64(i+1) {
			t.Fatalf("number %d is %+v", i+1, tr)
		}
		if i > 0 && tr.Type == told[i-1].Type {
			t.Errorf("%s is told twice", tr.Type)
		}
	}
	if told[0].Type != sandbox.EventRequested {
		t.Errorf("begins with %+v", told[0])
	}
	if last := p.View.Transitions[len(p.View.Transitions)-1]; last.Number != int64(len(told)) {
		t.Errorf("ends with %+v of %d", last, len(told))
	}
}

// Writers that make the same key at once: one creates, the others find it.
func TestPutCreatesOnce(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	v := young("s", 1)
	v.CreatedAt = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	revisions := make([]uint64, 6)
	var wg sync.WaitGroup
	for i := range revisions {
		wg.Go(func() {
			p, err := views.NewStore(b.conn.JS, sealer(t, 'a'), 0).Put(t.Context(), keyOf(v), source(v), time.Now())
			if err != nil {
				t.Error(err)
			}
			revisions[i] = p.Revision
		})
	}
	wg.Wait()
	for _, r := range revisions {
		if r != revisions[0] {
			t.Errorf("%v", revisions)
		}
	}
}

// A writer that loses each race gives up with an error, and does not spin.
func TestPutGivesUp(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	var tries atomic.Int64
	v := young("s", 1_000_000)
	src := source(v)
	src.Observe = func(*sandbox.View) sandbox.View {
		b.put(young("s", uint64(tries.Add(1)))) // somebody is quicker
		return *v.Clone()
	}
	if p, err := b.store().Put(t.Context(), keyOf(v), src, time.Now()); err == nil || tries.Load() > 100 {
		t.Errorf("%+v after %d tries", p, tries.Load())
	}
}

func TestPutOverWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	now := time.Now()
	for name, value := range map[string]string{"garbage": "garbage", "nothing": "", "another's": `{"tenant":"other"}`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := young(name, 1, status(sandbox.StatusRunning))
			before, err := b.kv().Put(t.Context(), keyOf(v), []byte(value))
			if err != nil {
				t.Fatal(err)
			}
			p, err := b.store().Put(t.Context(), keyOf(v), source(v), now)
			if err != nil || p.Revision <= before || p.View.Order != 1 {
				t.Fatalf("%+v, %v", p, err)
			}
			// What events there were is not known: numbers go on above any of them.
			if tr := p.View.Transitions; len(tr) != 1 || tr[0].Type != sandbox.EventRestored || tr[0].Number != now.Unix() {
				t.Errorf("%+v", tr)
			}
		})
	}
}

// A view whose key was sealed with another sealing key is written anew, though
// nothing else changed.
func TestPutSealsAnew(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	v := young("s", 1)
	other := views.NewStore(b.conn.JS, sealer(t, 'b'), 0)
	first, err := other.Put(t.Context(), keyOf(v), source(v), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	second := b.put(v)
	if second.Revision == first.Revision {
		t.Fatal("it was left as it is")
	}
	if p, err := b.store().Read(t.Context(), keyOf(v)); err != nil || p.View.SessionKey != v.SessionKey {
		t.Errorf("%+v, %v", p.View, err)
	}
}

// One event tells that a view was lost: where the bucket is younger than the
// sandbox.
func TestPutRestores(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	now := time.Now()
	for name, c := range map[string]struct {
		born time.Time
		want []sandbox.EventType
	}{
		"older than the bucket":   {b.created().Add(-time.Hour), []sandbox.EventType{sandbox.EventRestored}},
		"younger than the bucket": {b.created().Add(time.Nanosecond), []sandbox.EventType{sandbox.EventRequested, sandbox.EventStarting, sandbox.EventReady}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newView(name, 1, status(sandbox.StatusRunning))
			v.CreatedAt = c.born
			p, err := b.store().Put(t.Context(), keyOf(v), source(v), now)
			if err != nil || !slices.Equal(types(p.View), c.want) {
				t.Fatalf("%v, %v", types(p.View), err)
			}
			next := newView(name, 2, status(sandbox.StatusPaused))
			next.CreatedAt = c.born
			if p = b.put(next); !slices.Equal(types(p.View), append(c.want, sandbox.EventPaused)) {
				t.Errorf("%v", types(p.View))
			}
		})
	}
}

// A sandbox whose route nobody knows of is called running where the bucket was
// emptied under it, and nowhere else.
func TestPutTrustsRestoredRoutes(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	for name, c := range map[string]struct {
		born time.Time
		want sandbox.Status
	}{
		"older than the bucket":   {b.created().Add(-time.Hour), sandbox.StatusRunning},
		"younger than the bucket": {b.created().Add(time.Nanosecond), sandbox.StatusStarting},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			unknown := func(order uint64) *sandbox.View {
				v := newView(name, order, status(sandbox.StatusStarting))
				v.CreatedAt, v.RouteCheck = c.born, sandbox.RouteUnknown
				return v
			}
			if p := b.put(unknown(1)); p.View.Status != c.want {
				t.Errorf("the first view is %s, want %s", p.View.Status, c.want)
			}
			if p := b.put(unknown(2)); p.View.Status != sandbox.StatusStarting {
				t.Errorf("over another view it is %s, want it as it was made", p.View.Status)
			}
		})
	}
}

// A bucket that is made anew while a view is being made: what was read is
// dropped, and the record asked for once more.
// A write of a view that is there asks the server three things: when the bucket was
// made, what it holds, and to write.
func TestPutAsksTheServerThrice(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	st := b.store()
	put := func(order uint64, status sandbox.Status) {
		v := young("s", order, func(v *sandbox.View) { v.Status = status })
		if _, err := st.Put(t.Context(), keyOf(v), source(v), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	put(1, sandbox.StatusStarting)
	subjects := b.asked(func() { put(2, sandbox.StatusRunning) })
	want := []string{"$JS.API.STREAM.INFO." + contract.ViewStream, "$JS.API.STREAM.MSG.GET." + contract.ViewStream, "$KV." + contract.ViewBucket + "." + keyOf(young("s", 1))}
	if !slices.Equal(subjects, want) {
		t.Errorf("asked %q, want %q", subjects, want)
	}
}

// asked lists what do asked of JetStream, in order.
func (b *bus) asked(do func()) (subjects []string) {
	b.t.Helper()
	all, err := b.conn.SubscribeSync(">")
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = all.Unsubscribe() }()
	do()
	if err := b.conn.Publish("end", nil); err != nil {
		b.t.Fatal(err)
	}
	for {
		m, err := all.NextMsg(patience)
		if err != nil {
			b.t.Fatal(err)
		}
		if m.Subject == "end" {
			return subjects
		}
		if strings.HasPrefix(m.Subject, "$JS.API.") || strings.HasPrefix(m.Subject, "$KV.") {
			subjects = append(subjects, m.Subject)
		}
	}
}

// What was absent before the records were listed is written and nothing else; who
// wrote it since is not written over.
func TestPutOfWhatWasAbsent(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	st := b.store()
	live := 0
	put := func(v *sandbox.View) (p views.Present) {
		src := source(v)
		src.Known = &views.Present{Created: b.created()}
		src.Live = func(context.Context) (bool, error) { live++; return true, nil }
		p, err := st.Put(t.Context(), keyOf(v), src, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	put(young("other", 1)) // opens the bucket
	first := young("s", 2)
	var p views.Present
	subjects := b.asked(func() { p = put(first) })
	if want := "$KV." + contract.ViewBucket + "." + keyOf(first); !slices.Contains(subjects, want) || len(subjects) != 2 || live != 0 {
		t.Errorf("asked %q and %d times for the record, want only %s", subjects, live, want) // and created, for this test
	}
	if p.Revision == 0 || !p.Created.Equal(b.created()) {
		t.Errorf("%+v", p)
	}
	if now := put(young("s", 1)); now.Revision != p.Revision || now.View.Order != 2 {
		t.Errorf("an older one took the place of %+v: %+v", p, now)
	}
	if now := put(young("s", 3, status(sandbox.StatusRunning))); now.Revision <= p.Revision || now.View.Order != 3 {
		t.Errorf("a newer one did not take the place of %+v: %+v", p, now)
	}
	deleted := young("s", 4)
	if ok, err := st.Delete(t.Context(), keyOf(deleted), b.revision(keyOf(deleted))); err != nil || !ok {
		t.Fatal(ok, err)
	}
	if put(deleted); live != 1 {
		t.Errorf("over a deletion the record was asked for %d times, want once", live)
	}
}

// What is known to stand there is not read again: the write fails where it does not.
func TestPutOverWhatIsKnown(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	st := b.store()
	put := func(known *views.Present, v *sandbox.View) (p views.Present, subjects []string) {
		src := source(v)
		src.Known = known
		subjects = b.asked(func() {
			var err error
			if p, err = st.Put(t.Context(), keyOf(v), src, time.Now()); err != nil {
				t.Fatal(err)
			}
		})
		return p, subjects
	}
	recall := func(p views.Present) *views.Present {
		r := st.Recall(keyOf(p.View), p.Keep())
		if r == nil || r.Revision != p.Revision || !r.Created.Equal(p.Created) || r.View.SessionKey != p.View.SessionKey || !sandbox.SameForReaders(r.View, p.View) {
			t.Fatalf("recalled as %+v, want %+v", r, p)
		}
		return r
	}
	first, _ := put(nil, young("s", 1))
	second, subjects := put(recall(first), young("s", 2, status(sandbox.StatusRunning)))
	if want := []string{"$KV." + contract.ViewBucket + "." + keyOf(first.View)}; !slices.Equal(subjects, want) || second.View.Order != 2 {
		t.Errorf("asked %q, want %q; %+v", subjects, want, second)
	}
	if got := types(second.View); !slices.Contains(got, sandbox.EventReady) {
		t.Errorf("transitions %v", got)
	}
	// Nothing is to be written over what is known: that is looked at.
	if same, subjects := put(recall(second), young("s", 2, status(sandbox.StatusRunning))); len(subjects) != 2 || same.Revision != second.Revision {
		t.Errorf("asked %q; %+v", subjects, same)
	}
	// Another has written since.
	if older, _ := put(recall(first), young("s", 1, status(sandbox.StatusPaused))); older.Revision != second.Revision || older.View.Order != 2 {
		t.Errorf("what is older was written: %+v", older)
	}
	if third, _ := put(recall(first), young("s", 3)); third.Revision <= second.Revision || third.View.Order != 3 {
		t.Errorf("%+v", third)
	}
	b.remake()
	if anew, _ := put(recall(second), young("s", 4)); !anew.Created.Equal(b.created()) || anew.Revision <= second.Revision {
		t.Errorf("in a bucket that was made anew: %+v", anew)
	}
	if st.Recall(keyOf(first.View), views.Present{}.Keep()) != nil {
		t.Error("something is recalled of nothing")
	}
}

// revision is that of a key.
func (b *bus) revision(key string) uint64 {
	b.t.Helper()
	e, err := b.kv().Get(b.t.Context(), key)
	if err != nil {
		b.t.Fatal(err)
	}
	return e.Revision()
}

// One store goes on over a bucket that is made anew between two writes.
func TestPutBeforeAndAfterABucketIsMadeAnew(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	st := b.store()
	for order := range uint64(3) {
		v := newView("s", order+1)
		p, err := st.Put(t.Context(), keyOf(v), source(v), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		e, err := b.kv().Get(t.Context(), keyOf(v))
		if err != nil || e.Revision() != p.Revision || !p.Created.Equal(b.created()) {
			t.Errorf("after %d wipes: %+v, %+v, %v", order, p, e, err)
		}
		b.remake()
	}
}

func TestPutIntoABucketMadeAnew(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.put(newView("s", 1))
	v := newView("s", 2, status(sandbox.StatusRunning))
	src := source(v)
	calls, asked := 0, 0
	src.Observe = func(prev *sandbox.View) sandbox.View {
		if calls++; calls == 1 {
			b.remake()
		} else if prev != nil {
			t.Errorf("it kept %+v", prev)
		}
		return *v.Clone()
	}
	src.Live = func(context.Context) (bool, error) { asked++; return true, nil }
	p, err := b.store().Put(t.Context(), keyOf(v), src, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if calls != 2 || asked != 1 || !p.Created.Equal(b.created()) || !slices.Equal(types(p.View), []sandbox.EventType{sandbox.EventRestored}) {
		t.Errorf("%d calls, asked %d times, %+v", calls, asked, p.View)
	}
}

func TestPutTrimsWhatIsPublished(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	statuses := []sandbox.Status{sandbox.StatusRunning, sandbox.StatusStarting}
	var published atomic.Int64
	for i := range uint64(30) {
		v := young("s", i, status(statuses[i%2]))
		v.CreatedAt = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
		src := source(v)
		src.Published = func(tr sandbox.Transition) bool { return tr.Number <= published.Load() }
		if i == 29 {
			published.Store(12)
		}
		p, err := b.store().Put(t.Context(), keyOf(v), src, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		first := p.View.Transitions[0].Number
		if i < 29 && first != 1 || i == 29 && first != 13 {
			t.Errorf("write %d begins with number %d", i, first)
		}
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	store := b.store()
	first := b.put(young("s", 1))
	second := b.put(young("s", 2))
	key := keyOf(second.View)
	if ok, err := store.Delete(t.Context(), key, first.Revision); ok || err != nil {
		t.Errorf("at a stale revision: %v, %v", ok, err)
	}
	if p, err := store.Read(t.Context(), key); err != nil || p.View == nil {
		t.Errorf("%+v, %v", p, err)
	}
	if ok, err := store.Delete(t.Context(), key, second.Revision); !ok || err != nil {
		t.Errorf("at its revision: %v, %v", ok, err)
	}
	gone, err := store.Read(t.Context(), key)
	if err != nil || gone.View != nil || gone.Revision <= second.Revision {
		t.Errorf("%+v, %v", gone, err)
	}
	if ok, err := store.Delete(t.Context(), key, second.Revision); ok || err != nil {
		t.Errorf("once more: %v, %v", ok, err)
	}
	if ok, err := store.Delete(t.Context(), keyOf(newView("never", 1)), 5); ok || err != nil {
		t.Errorf("what never was: %v, %v", ok, err)
	}
	// The marker of a deletion goes too, after an hour.
	s, err := b.conn.JS.Stream(t.Context(), contract.ViewStream)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.GetLastMsgForSubject(t.Context(), "$KV."+contract.ViewBucket+"."+key)
	if err != nil || m.Header.Get(jetstream.MsgTTLHeader) != "1h0m0s" {
		t.Errorf("%+v, %v", m, err)
	}
	// A new sandbox of the session is as the first.
	asked := false
	v := young("s", 1, generation(2000))
	src := source(v)
	src.Live = func(context.Context) (bool, error) { asked = true; return true, nil }
	p, err := store.Put(t.Context(), key, src, time.Now())
	if err != nil || !asked || p.Revision <= gone.Revision || types(p.View)[0] != sandbox.EventRequested {
		t.Errorf("%+v, asked %v, %v", p, asked, err)
	}
}

// A marker that the server itself leaves, where a message aged, reads as
// nothing too.
func TestReadOfAServersMarker(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	key := keyOf(newView("s", 1))
	m := nats.NewMsg("$KV." + contract.ViewBucket + "." + key)
	m.Header.Set(jetstream.MarkerReasonHeader, "MaxAge")
	if _, err := b.conn.JS.PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if p, err := b.store().Read(t.Context(), key); err != nil || p.View != nil || p.Revision == 0 {
		t.Errorf("%+v, %v", p, err)
	}
	if p := b.put(young("s", 1)); p.View == nil || types(p.View)[0] != sandbox.EventRequested {
		t.Errorf("%+v", p)
	}
}

func TestBeat(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	h := contract.Heartbeat{Leader: "w", Time: born, Complete: true, Created: b.created()}
	for range 3 {
		if err := b.store().Beat(t.Context(), h); err != nil {
			t.Fatal(err)
		}
	}
	e, err := b.kv().Get(t.Context(), contract.HeartbeatKey)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := contract.DecodeHeartbeat(e.Value()); err != nil || !got.Created.Equal(h.Created) || !got.Complete || got.Leader != "w" {
		t.Errorf("%+v, %v", got, err)
	}
}

// With the server away, or the bucket, each call ends with an error.
func TestStoreWithoutServer(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]func(*bus){
		"server": func(b *bus) { b.Stop() },
		"bucket": func(b *bus) {
			if err := b.conn.JS.DeleteStream(b.t.Context(), contract.ViewStream); err != nil {
				b.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startBus(t)
			store, v := b.store(), young("s", 1)
			away(b)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, read := store.Read(ctx, keyOf(v))
			_, put := store.Put(ctx, keyOf(v), source(v), time.Now())
			ok, del := store.Delete(ctx, keyOf(v), 1)
			beat := store.Beat(ctx, contract.Heartbeat{})
			for what, err := range map[string]error{"read": read, "put": put, "delete": del, "beat": beat} {
				if err == nil || errors.Is(err, views.ErrMoved) {
					t.Errorf("%s: %v", what, err)
				}
			}
			if ok {
				t.Error("deleted")
			}
			if ctx.Err() != nil {
				t.Error("the caller's whole time was waited")
			}
		})
	}
}
