package views_test

import (
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// An older store comes back under a gateway: the bucket is of the same creation,
// its heartbeat says that it is complete, and what came after it is gone. Memory
// goes back to nothing older, and nothing that it lacks is confirmed until the
// bucket was made anew.
func TestFollowerOfAnOlderStore(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.put(newView("moved", 1, ofRuntime(1)))
	b.beat(true)
	older := b.Keep()
	until(t, "the bucket", func() bool { _, err := b.store().Read(t.Context(), "acme.x"); return err == nil })
	f := b.follow()
	b.put(newView("moved", 2, ofRuntime(1), status(sandbox.StatusPaused)))
	b.put(newView("later", 1, ofRuntime(2)))
	b.beat(true)
	confirmed(t, f)
	b.Back(older)
	until(t, "the older bucket", func() bool {
		p, err := b.store().Read(t.Context(), keyOf(newView("moved", 1)))
		return err == nil && p.View != nil
	})
	// One that this follower must not miss: another gateway's, after the restore.
	b.put(newView("new", 1, ofRuntime(3)))
	for began := time.Now(); time.Since(began) < 3*time.Second; { // past the next looks at the bucket
		if f.ReadIndex(t.Context()) == nil && f.Memory().Session(tenant, "new") == nil {
			t.Fatal("it confirms that there is no sandbox that there is")
		}
		if v := f.Memory().Session(tenant, "moved"); v == nil || v.Status != sandbox.StatusPaused || f.Memory().Session(tenant, "later") == nil {
			t.Fatalf("memory went back: %+v, %v", v, f.Memory().Keys())
		}
	}
	if err := b.conn.RemakeViews(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.put(newView("moved", 2, ofRuntime(1), status(sandbox.StatusPaused)))
	b.put(newView("new", 1, ofRuntime(3)))
	b.beat(true)
	confirmed(t, f)
	until(t, "the new bucket's views", func() bool { return f.Memory().Session(tenant, "new") != nil })
	if v := f.Memory().Session(tenant, "moved"); v == nil || v.Status != sandbox.StatusPaused {
		t.Errorf("%+v", v)
	}
}
