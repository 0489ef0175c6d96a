//go:build system

package system_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
	"github.com/sandbar-io/sandbar/tools/internal/overlay"
)

// TestTwoVersions: this version and one that writes more run side by side, as in
// an upgrade that is half done, or taken back. Clients notice nothing, and what the
// newer one wrote into a record is still there after the older one changed it. A
// view is made anew from what Kubernetes holds: it has the new members again as
// soon as a newer watcher leads.
func TestTwoVersions(t *testing.T) {
	t.Parallel()
	newer := t.TempDir()
	changes, err := overlay.Write(bed.root, newer, tomorrow)
	if err != nil {
		t.Fatal(err)
	}
	if err := stack.Build(t.Context(), bed.root, newer, true, "-overlay="+changes); err != nil {
		t.Fatal(err)
	}
	// Of each kind the second is the newer one.
	r := newRig(t, "versions", stack.Options{
		Gateways: 2, Provisioners: 2, Watchers: 2, Routers: 2, Settings: []string{noPurge},
		OwnBin: map[string]string{"gateway-1": newer, "provisioner-1": newer, "watcher-1": newer, "router-1": newer},
	})
	live := r.manyLive(t, 4)
	asked := r.ask(t, live)

	lives := make([]string, 12)
	err = each(6, len(lives), func(i int) (err error) {
		lives[i], err = wholeTime(t.Context(), r.api(i%2), lifeOf(i), bed.image)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	r.toldOnce(t, nil, nil, lives)

	// Whoever writes, what the newer version wrote stays.
	r.alone(t, "provisioner-1", "provisioner-0")
	rt, err := r.api(1).Start(t.Context(), body(t, "kept"))
	if err != nil {
		t.Fatal(err)
	}
	waitStatus(t, r.api(0), "kept", "running")
	r.keeps(t, "kept", "of the record", "of the spec")
	r.alone(t, "provisioner-0", "provisioner-1")
	if _, err := r.api(0).Pause(t.Context(), rt.RuntimeID); err != nil {
		t.Fatal(err)
	}
	r.keeps(t, "kept", "of the record", "of the spec")
	if _, err := r.api(1).Resume(t.Context(), rt.RuntimeID); err != nil {
		t.Fatal(err)
	}
	waitStatus(t, r.api(1), "kept", "running")
	r.keeps(t, "kept", "of the record", "of the spec")
	if _, err := r.api(1).Start(t.Context(), body(t, "asked")); err != nil { // the newer gateway's start, run by the older provisioner
		t.Fatal(err)
	}
	r.keeps(t, "asked", "", "of the spec")

	// Whoever leads, the views are right; the newer one's are whole.
	r.alone(t, "watcher-1", "watcher-0")
	r.waitLeader(t)
	r.shows(t, "kept", "of the view", sandbox.StatusRunning)
	if _, err := r.api(0).Pause(t.Context(), rt.RuntimeID); err != nil { // the older provisioner writes this view
		t.Fatal(err)
	}
	r.shows(t, "kept", "of the view", sandbox.StatusPaused)
	r.alone(t, "watcher-0", "watcher-1")
	r.waitLeader(t)
	r.alone(t, "provisioner-1", "provisioner-0")
	if _, err := r.api(0).Resume(t.Context(), rt.RuntimeID); err != nil {
		t.Fatal(err)
	}
	for _, api := range r.apis() {
		if again := waitStatus(t, api, "kept", "running"); again.RuntimeID != rt.RuntimeID || again.SessionAPIKey != rt.SessionAPIKey {
			t.Errorf("on %s: %+v, want %s and its key", api.Base, again, rt.RuntimeID)
		}
	}
	r.keeps(t, "kept", "of the record", "of the spec")
	if answers, unavailable := asked.end(t); unavailable > 0 {
		t.Errorf("%d of %d answers to readers were 503", unavailable, answers)
	}
}

// alone leaves one of a kind running: that one is started first.
func (r *rig) alone(t *testing.T, stays, goes string) {
	t.Helper()
	if !r.Running(stays) {
		r.again(t, stays)
	}
	if err := r.Signal(goes, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := r.waitEnded(t, goes); err != nil {
		t.Fatal(err)
	}
}

// keeps demands what the newer version wrote into a record and its spec.
func (r *rig) keeps(t *testing.T, session, inRecord, inSpec string) {
	t.Helper()
	name := sandbox.RecordName(sandbox.DefaultTenant, session)
	s, err := bed.kube.CoreV1().Secrets(r.SandboxNamespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var rec struct {
		Tomorrow string
		Desired  string
		Spec     struct{ Tomorrow string }
	}
	if err := json.Unmarshal(s.Data["record"], &rec); err != nil {
		t.Fatal(err)
	}
	if rec.Tomorrow != inRecord || rec.Spec.Tomorrow != inSpec {
		t.Errorf("the record of %s, which is %s, holds %q and %q of the newer version, want %q and %q",
			session, rec.Desired, rec.Tomorrow, rec.Spec.Tomorrow, inRecord, inSpec)
	}
}

// shows waits until the view of a session has the newer version's member.
func (r *rig) shows(t *testing.T, session, want string, status sandbox.Status) {
	t.Helper()
	js := r.bus(t, "provisioner")
	subject := "$KV." + contract.ViewBucket + "." + contract.ViewKey(sandbox.DefaultTenant, sandbox.RecordName(sandbox.DefaultTenant, session))
	waitFor(t, fmt.Sprintf("the view of %s is %s and holds %q", session, status, want), func(ctx context.Context) (string, bool) {
		s, err := js.Stream(ctx, contract.ViewStream)
		if err != nil {
			return err.Error(), false
		}
		m, err := s.GetLastMsgForSubject(ctx, subject)
		if err != nil {
			return err.Error(), false
		}
		var v struct {
			Tomorrow string
			Status   sandbox.Status
		}
		if err := json.Unmarshal(m.Data, &v); err != nil {
			return errors.Join(err, errors.New(string(m.Data))).Error(), false
		}
		return fmt.Sprintf("%+v", v), v.Tomorrow == want && v.Status == status
	})
}
