//go:build system

package costs_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
	"github.com/sandbar-io/sandbar/tools/internal/stubapi"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/bed"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/load"
)

// quietFor is how long nothing must have been counted for everything to have been.
const quietFor = 3 * time.Second

// The kinds of messages. What has none of them is counted by its subject.
const (
	viewWrites = "view"
	activity   = "activity"
	reads      = "message read"
	acks       = "ack"
	commandOf  = "command " // and its verb
	events     = "event"
	replies    = "reply"
)

// world is a stack of one of each service, beside an API server and a bus on which
// everything is counted.
type world struct {
	*bed.Bed
	mu   sync.Mutex
	said map[string]int // messages by what they are
	// looks are those at the bucket's last sequence: of reads that miss, and by the clock.
	looks int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	root, err := filepath.Abs("../../..")
	must(t, err)
	lab, err := bed.Open(t.Context(), root, filepath.Join(root, ".sandbar", "test", "costs"))
	must(t, err)
	t.Cleanup(func() { must(t, lab.Close()) })
	password := "p" + rand.Text()
	b, err := lab.Start(t.Context(), "costs", stack.Options{
		NATSConfig: observed(t, root, password),
		// What comes by the clock is no cost of a sandbox.
		Settings: []string{"RESYNC=1h", "PURGE_AFTER=1h"},
	})
	must(t, err)
	w := &world{Bed: b, said: map[string]int{}}
	c, err := nats.Connect(b.Stack.NATSURL, nats.UserInfo("observer", password))
	must(t, err)
	t.Cleanup(c.Close)
	for _, subjects := range []string{"sandbar.>", "$KV.>", "$JS.API.STREAM.MSG.GET.>", "$JS.API.STREAM.INFO.>", "$JS.ACK.>"} {
		_, err := c.Subscribe(subjects, w.heard)
		must(t, err)
	}
	must(t, c.Flush())
	return w
}

// observed is the configuration of deploy/ with one user more, who hears all.
func observed(t *testing.T, root, password string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, "deploy", "nats", "nats.conf"))
	must(t, err)
	const users = "  users: [\n"
	if strings.Count(string(raw), users) != 1 {
		t.Fatalf("deploy/nats/nats.conf has no line %q", users)
	}
	text := strings.Replace(string(raw), users, users+fmt.Sprintf("    { user: observer, password: %q }\n", password), 1)
	path := filepath.Join(t.TempDir(), "nats.conf")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// inProgress is the acknowledgement that says only that somebody is at work still.
const inProgress = "+WPI"

// heard counts a message, unless it comes by the clock.
func (w *world) heard(m *nats.Msg) {
	subject, kind := m.Subject, m.Subject
	parts := strings.Split(subject, ".")
	switch {
	case subject == "$KV."+contract.ViewBucket+"."+contract.HeartbeatKey:
		return
	case subject == contract.PaceSubject:
		p, err := contract.DecodePace(m.Data)
		if err == nil && !p.Waits && !p.Probes && p.Runs == 0 { // that commands come, every ten seconds
			return
		}
	case strings.HasPrefix(subject, "$KV."+contract.ViewBucket):
		kind = viewWrites
	case strings.HasPrefix(subject, "$KV."+contract.ActivityBucket):
		kind = activity
	case strings.HasPrefix(subject, "$JS.API.STREAM.MSG.GET"):
		kind = reads
	case strings.HasPrefix(subject, "$JS.API.STREAM.INFO"):
		w.mu.Lock()
		defer w.mu.Unlock()
		w.looks++
		return
	case strings.HasPrefix(subject, "$JS.ACK"):
		if bytes.Equal(m.Data, []byte(inProgress)) {
			return
		}
		kind = acks
	case strings.HasPrefix(subject, "sandbar.command.v1."):
		kind = commandOf + parts[3]
	case strings.HasPrefix(subject, "sandbar.event.v1."):
		kind = events
	case strings.HasPrefix(subject, "sandbar.reply.v1."):
		kind = replies
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said[kind]++
}

// count is what was counted on both sides.
type count struct {
	calls    stubapi.Counts
	messages map[string]int
	looks    int
}

func (w *world) now() count {
	w.mu.Lock()
	defer w.mu.Unlock()
	calls := w.Stub.Calls.All()
	maps.DeleteFunc(calls, func(c stubapi.Call, _ int) bool {
		return c.Resource == "leases" || c.Verb == "watch" // by the clock
	})
	return count{calls, maps.Clone(w.said), w.looks}
}

// during counts what do costs, until all is quiet.
func (w *world) during(t *testing.T, do func()) count {
	t.Helper()
	before := w.now()
	do()
	after := w.quiet(t)
	out := count{stubapi.Counts{}, map[string]int{}, after.looks - before.looks}
	for c, n := range after.calls {
		if n -= before.calls[c]; n > 0 {
			out.calls[c] = n
		}
	}
	for k, n := range after.messages {
		if n -= before.messages[k]; n > 0 {
			out.messages[k] = n
		}
	}
	return out
}

func (w *world) quiet(t *testing.T) count {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	last, since := w.now(), time.Now()
	must(t, bed.Until(ctx, func() error {
		now := w.now()
		if !maps.Equal(now.calls, last.calls) || !maps.Equal(now.messages, last.messages) {
			last, since = now, time.Now()
		}
		if time.Since(since) < quietFor {
			return errors.New("it is not quiet yet")
		}
		return nil
	}))
	return last
}

func (c count) String() string {
	var all []string
	for k, n := range c.messages {
		all = append(all, fmt.Sprintf("%s ×%d", k, n))
	}
	slices.Sort(all)
	return fmt.Sprintf("%s; %s, %d looks at the bucket's end", c.calls, strings.Join(all, ", "), c.looks)
}

// each does something for n sandboxes, some at the same time.
func each(t *testing.T, n int, do func(ctx context.Context, i int) error) {
	t.Helper()
	r := load.Each(t.Context(), 16, n, do)
	if r.Failed > 0 {
		t.Fatalf("%d of %d failed: %v", r.Failed, n, r.Failure)
	}
}

// change sends what pause, resume and stop are sent.
func (w *world) change(ctx context.Context, verb, runtimeID string) error {
	body, err := json.Marshal(map[string]string{"runtime_id": runtimeID})
	if err == nil {
		_, err = w.Post(ctx, w.Gateway(0)+"/"+verb, body)
	}
	return err
}

// watched returns when the watchers follow anew what they followed before.
func (w *world) watched(t *testing.T, begun stubapi.Counts) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, bed.Until(ctx, func() error {
		since := w.Stub.Calls.Since(begun)
		for _, resource := range []string{"secrets", "pods"} {
			if since[stubapi.Call{User: "watcher", Verb: "watch", Resource: resource}] == 0 {
				return fmt.Errorf("no watcher follows %s again", resource)
			}
		}
		return nil
	}))
}

// shown returns when the gateway shows all sandboxes so.
func (w *world) shown(t *testing.T, ids []string, status, podStatus string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for _, id := range ids {
		must(t, bed.Until(ctx, func() error {
			raw, err := w.Get(ctx, w.Gateway(0)+"/runtime/"+id)
			if err != nil {
				return err
			}
			var rt struct {
				Status    string `json:"status"`
				PodStatus string `json:"pod_status"`
			}
			if err := json.Unmarshal(raw, &rt); err != nil {
				return err
			}
			if rt.Status != status || rt.PodStatus != podStatus {
				return fmt.Errorf("%s is %s, %s", id, rt.Status, rt.PodStatus)
			}
			return nil
		}))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
