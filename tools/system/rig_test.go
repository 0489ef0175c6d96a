//go:build system

package system_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
	"github.com/sandbar-io/sandbar/tools/internal/machine"
)

// shortLease lets a watcher's successor come within seconds.
var shortLease = []string{"LEASE_DURATION=5s", "LEASE_RENEW=3s", "LEASE_RETRY=500ms"}

// noPurge keeps the watcher from sending commands that a failpoint would count.
const noPurge = "PURGE_AFTER=1h"

// rig is a stack of one test on simulated nodes.
type rig struct {
	*stack.Stack
	http *http.Client
}

// newRig starts a stack as o asks. At the end it is removed; the logs of a failed
// test stay.
func newRig(t *testing.T, name string, o stack.Options) *rig {
	t.Helper()
	run := nonce()
	o.Dir = filepath.Join(bed.root, ".sandbar", "test", "system-"+name+"-"+run)
	o.Repo, o.Cluster, o.Bin, o.Failpoints = bed.root, bed.State, bed.bin, true
	o.SystemNamespace, o.SandboxNamespace = name+"-"+run+"-system", name+"-"+run+"-sandboxes"
	o.Settings = append(append(stack.Placement(false), shortLease...), o.Settings...)
	o.Log = func(string, ...any) {}
	before := machine.Now()
	t.Cleanup(func() {
		endRig(t, o)
		if t.Failed() {
			t.Log(before.Since())
		}
	})
	begin := time.Now()
	s, err := stack.Start(t.Context(), o)
	if err != nil {
		t.Fatalf("start a stack: %v", err)
	}
	r := &rig{Stack: s}
	if r.http, err = client.NewHTTP(bed.BaseDomain, s.Of("router")[0].URL); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.http.CloseIdleConnections)
	t.Logf("the stack of %d services was ready after %s", len(s.Services), time.Since(begin).Round(10*time.Millisecond))
	return r
}

func endRig(t *testing.T, o stack.Options) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	s, err := stack.Load(o.Dir)
	if err != nil { // its start failed before any process was there
		t.Logf("the stack has no state: %v", err)
	} else {
		if t.Failed() {
			r := &rig{Stack: s}
			r.tell(t)
		}
		if err := s.Stop(); err != nil {
			t.Errorf("the stack does not end: %v", err)
		}
	}
	if err := stack.Remove(ctx, bed.kube, o); err != nil {
		t.Errorf("the stack's end: %v", err)
	}
}

// tell shows the ends of all logs and keeps the whole ones.
func (r *rig) tell(t *testing.T) {
	t.Helper()
	for _, name := range r.Processes() {
		t.Logf("log of %s ends:\n%s", name, tail(r.LogPath(name)))
	}
	kept := filepath.Join(filepath.Dir(r.Dir), "failed-"+filepath.Base(r.Dir))
	if err := os.CopyFS(kept, os.DirFS(filepath.Join(r.Dir, "log"))); err == nil {
		t.Logf("all logs: %s", kept)
	}
}

// tail is what a log holds of warnings and errors, and its end, for a failure's
// message.
func tail(path string) string {
	const lines, width = 12, 400
	raw, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := bytes.Split(bytes.TrimSpace(raw), []byte("\n"))
	end := all[max(0, len(all)-lines/2):]
	var bad [][]byte
	for _, line := range all[:len(all)-len(end)] {
		if !bytes.Contains(line, []byte(`"level":"info"`)) && !bytes.Contains(line, []byte("[INF]")) {
			bad = append(bad, line)
		}
	}
	told := slices.Concat(bad[max(0, len(bad)-lines):], end)
	for i, line := range told {
		told[i] = line[:min(len(line), width)]
	}
	return string(bytes.Join(told, []byte("\n")))
}

// api is the n-th gateway with the stack's own key.
func (r *rig) api(n int) client.API {
	return client.NewAPI(r.http, r.Of("gateway")[n].URL, r.Secrets.APIKey)
}

// apis are all gateways.
func (r *rig) apis() []client.API {
	var all []client.API
	for n := range r.Of("gateway") {
		all = append(all, r.api(n))
	}
	return all
}

// again starts an instance anew, killed if it still runs, with extra settings.
func (r *rig) again(t *testing.T, name string, extra ...string) {
	t.Helper()
	if err := r.Kill(name); err != nil && r.Running(name) {
		t.Fatal(err)
	}
	if err := r.StartService(name, extra...); err != nil {
		t.Fatal(err)
	}
	if err := r.WaitService(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

// arm starts all instances of a kind anew, so that the first of them that comes
// to the failpoint dies there, and no other.
func (r *rig) arm(t *testing.T, kind, point string) (fired func() bool) {
	t.Helper()
	once := filepath.Join(r.Dir, "once-"+strings.NewReplacer("/", "-", ":", "-").Replace(point)+"-"+nonce())
	for _, svc := range r.Of(kind) {
		r.again(t, svc.Name, "SANDBAR_FAILPOINT="+point, "SANDBAR_FAILPOINT_ONCE="+once)
	}
	return func() bool {
		_, err := os.Stat(once)
		return err == nil
	}
}

// dead lists the instances of a kind that do not run.
func (r *rig) dead(kind string) (names []string) {
	for _, svc := range r.Of(kind) {
		if !r.Running(svc.Name) {
			names = append(names, svc.Name)
		}
	}
	return names
}

// logged is all that the services have written, NATS included.
func (r *rig) logged(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, name := range r.Processes() {
		raw, err := os.ReadFile(r.LogPath(name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		all.Write(raw)
	}
	return all.String()
}

func nonce() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return hex.EncodeToString(b[:])
}

// waitEnded waits until an instance that was told to end has.
func (r *rig) waitEnded(t *testing.T, name string) error {
	t.Helper()
	return client.Poll(t.Context(), pollEvery, waitLimit, func(context.Context) (string, bool) {
		return name + " runs; its log ends " + tail(r.LogPath(name)), !r.Running(name)
	})
}
