//go:build system

package system_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// TestDiskIsFull: where NATS can store nothing more, and says so to nobody, changes are
// refused after a while and reads go on. Once there is room and NATS was started again,
// all goes on where it was.
func TestDiskIsFull(t *testing.T) {
	t.Parallel()
	r := newRig(t, "disk", stack.Options{Gateways: 2, Provisioners: 2, Settings: []string{noPurge}})
	fill, empty := r.smallDisk(t)
	live := r.running(t, "live")
	pod := r.onePod(t, live.RuntimeID)
	accepted := map[string]string{} // before the disk was full: by session

	fill()
	for _, api := range r.apis() {
		waitFor(t, "changes are refused", func(ctx context.Context) (string, bool) {
			return startSome(ctx, t, api, accepted)
		})
		if rt, err := api.Session(t.Context(), "live"); err != nil || rt.Status != "running" {
			t.Errorf("%s shows %+v, %v", api.Base, rt, err)
		}
	}

	empty()
	r.whileAway(t, func() error { return nil })
	waitFor(t, "changes are accepted", func(ctx context.Context) (string, bool) {
		_, err := r.api(0).Start(ctx, body(t, "after"))
		return errorText(err), err == nil
	})
	waitStatus(t, r.api(1), "after", "running")
	for session, id := range accepted {
		if rt := waitStatus(t, r.api(1), session, "running"); rt.RuntimeID != id {
			t.Errorf("%s is %s, was accepted as %s", session, rt.RuntimeID, id)
		}
	}
	if after := r.onePod(t, live.RuntimeID); after.UID != pod.UID {
		t.Errorf("the pod was touched: %s, was %s", after.UID, pod.UID)
	}
	if err := r.api(0).Stop(t.Context(), live.RuntimeID); err != nil {
		t.Error(err)
	}
	r.waitHas(t, live.RuntimeID)
}

// startSome reports whether a few starts were refused, but for the one that finds out
// whether there is room again, and notes what was accepted of them. They are more than
// one, for a full disk has room in the last page of a file: what is stored there is a
// command that waits, unanswered, and not one that is refused.
func startSome(ctx context.Context, t *testing.T, api client.API, accepted map[string]string) (string, bool) {
	t.Helper()
	const some = 8
	var mu sync.Mutex
	refused := 0
	begun := len(accepted)
	err := each(some, some, func(i int) error {
		session := fmt.Sprintf("late-%d-%d", begun, i)
		rt, err := api.Start(ctx, body(t, session))
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			accepted[session] = rt.RuntimeID
		case client.StatusOf(err) == http.StatusServiceUnavailable:
			refused++
		}
		return err
	})
	return fmt.Sprintf("%d of %d refused: %s", refused, some, errorText(err)), refused >= some-1
}

// smallDisk gives NATS a disk of its own, with what it has stored so far. fill leaves
// no room on it.
func (r *rig) smallDisk(t *testing.T) (fill, empty func()) {
	t.Helper()
	const size = 64 << 20
	store := r.NATSStore("nats")
	old := store + "-before"
	t.Cleanup(func() {
		_ = r.Kill("nats") // may be dead; its files are open
		err := unix.Unmount(store, unix.MNT_DETACH)
		if err != nil && !errors.Is(err, unix.EINVAL) { // it was not mounted
			t.Errorf("unmount the disk of NATS: %v", err)
		}
	})
	r.whileAway(t, func() error {
		if err := os.Rename(store, old); err != nil {
			return err
		}
		if err := os.Mkdir(store, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("sandbar-test", store, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
			return err
		}
		return os.CopyFS(store, os.DirFS(old))
	})
	filler := filepath.Join(store, "filler")
	fill = func() {
		t.Helper()
		f, err := os.Create(filler)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for piece := make([]byte, 4096); err == nil; {
			_, err = f.Write(piece)
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("fill the disk: %v", err)
		}
	}
	return fill, func() {
		t.Helper()
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	}
}
