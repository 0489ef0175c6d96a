package observer_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
	"github.com/sandbar-io/sandbar/services/watcher/internal/observer"
	"github.com/sandbar-io/sandbar/services/watcher/internal/testbed"
)

func TestTheKeyOfALiveRecordIsNeverRemoved(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.born("s")
	key := testbed.Key(r)
	b.world.Set(r, 10)
	b.look(key)
	b.world.Hide(r.Name) // the watch has lost it
	if _, err := b.o.Look(t.Context(), key); !errors.Is(err, views.ErrMoved) {
		t.Errorf("got %v, want another look", err)
	}
	b.world.Fail(errors.New("the API server is away"))
	if _, err := b.o.Look(t.Context(), key); err == nil {
		t.Error("without an answer of the API server the key was settled")
	}
	if b.view(key) == nil {
		t.Fatal("the key of a live record is gone")
	}
}

func TestAKeyIsNotMadeForARecordThatMoved(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.born("s")
	key := testbed.Key(r)
	live := r.Clone()
	live.Generation++
	b.world.SetLive(live)
	b.world.Show(r, 10)
	if _, err := b.o.Look(t.Context(), key); !errors.Is(err, views.ErrMoved) {
		t.Errorf("got %v, want ErrMoved", err)
	}
	if b.view(key) != nil {
		t.Error("a key was made from a stale copy")
	}
}

func TestTheLastCommandIsTheProvisionersToTell(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.born("s")
	r.LastCommand = "one"
	key := testbed.Key(r)
	pod := testbed.ReadyPod(r, 10)
	b.world.Set(r, 10, pod)
	b.look(key)
	// A start of what runs already: the record's fence moves, its generation
	// does not, and our copy is from before it.
	accepted := r.Clone()
	accepted.LastCommand = "two"
	b.world.SetLive(accepted)
	_, err := b.store.Put(t.Context(), key, views.Source{
		Observe: func(prev *sandbox.View) sandbox.View {
			v, _ := sandbox.Observe(accepted, &pod, prev, 10, sandbox.DefaultPolicy, time.Now())
			return v
		},
	}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	b.look(key)
	if got := b.view(key).LastCommand; got != "two" {
		t.Errorf("the last command went back to %q", got)
	}
}

func TestPhantomKeys(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.born("s")
	key := testbed.Key(r)
	b.world.Set(r, 10, testbed.ReadyPod(r, 10))
	b.look(key)
	b.world.Remove(r.Name) // deleted by hand, without a stop
	b.look(key)
	if b.view(key) != nil {
		t.Error("the key is still there")
	}
	b.wantEvents(sandbox.EventRequested, sandbox.EventStarting, sandbox.EventReady, sandbox.EventStopped)
	b.look(key) // and again, of a key that is deleted
	b.o.Foreign(key, 1<<62, true)
	if b.o.Waiting() != 0 {
		t.Error("the end of a key without a record is looked at")
	}
}

// hijack is a Views in which a new record of the session gets its view between
// the look for the old one and the write.
type hijack struct {
	observer.Views
	before func()
}

func (h *hijack) Put(ctx context.Context, key string, src views.Source, now time.Time) (views.Present, error) {
	h.before()
	return h.Views.Put(ctx, key, src, now)
}

func TestANewRecordUnderAPhantomKeyKeepsIt(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	old := b.born("s")
	key := testbed.Key(old)
	b.world.Set(old, 10, testbed.ReadyPod(old, 10))
	b.look(key)
	b.world.Remove(old.Name)
	young := testbed.Record("s", time.Now())
	young.UID, young.Generation = "another", old.Generation+1000
	o := b.observer(&hijack{b.store, func() {
		_, err := b.store.Put(t.Context(), key, views.Source{
			Observe: func(prev *sandbox.View) sandbox.View {
				v, _ := sandbox.Observe(young, nil, prev, 30, sandbox.DefaultPolicy, time.Now())
				return v
			},
			Live: func(context.Context) (bool, error) { return true, nil }, Born: young.CreatedAt,
		}, time.Now())
		if err != nil {
			t.Error(err)
		}
	}})
	if _, err := o.Look(t.Context(), key); !errors.Is(err, views.ErrMoved) {
		t.Errorf("got %v, want another look", err)
	}
	if v := b.view(key); v == nil || v.RecordUID != "another" || v.Status != sandbox.StatusStarting {
		t.Errorf("the new record's view is %+v", v)
	}
}

func TestRecordsThatCannotBeReadAreLeftAlone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.born("s")
	key := testbed.Key(r)
	b.world.Set(r, 10)
	b.look(key)
	b.world.ShowUnknown(r.Name)
	b.look(key)
	if b.view(key) == nil {
		t.Error("the key of a record of a later version is gone")
	}
}
