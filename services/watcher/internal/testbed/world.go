package testbed

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/watcher/internal/podwatch"
)

// Record returns a running record of a session.
func Record(session string, now time.Time) *sandbox.Record {
	return &sandbox.Record{
		Name: sandbox.RecordName("acme", session), UID: "uid-" + session, Tenant: "acme", SessionID: session,
		RuntimeID: sandbox.NewRuntimeID(), Desired: sandbox.Running, Generation: 1000, Incarnation: 1,
		Spec: sandbox.Spec{Image: "agent:1"}, Route: sandbox.Route{Label: session, URL: "http://" + session},
		SessionKey: "key-" + session, CreatedAt: now, ChangedAt: now,
	}
}

// Pod returns the pod that a record wants, in a phase of its start.
func Pod(r *sandbox.Record, order uint64) sandbox.Pod {
	return sandbox.Pod{
		Name: sandbox.PodName(r.RuntimeID, r.Incarnation), UID: "pod-" + r.UID, Record: r.Name, RecordUID: r.UID,
		RuntimeID: r.RuntimeID, Generation: r.Generation, Incarnation: r.Incarnation, Order: order,
		CreatedAt: r.CreatedAt, Phase: "Pending", Scheduled: true,
	}
}

// ReadyPod returns it serving.
func ReadyPod(r *sandbox.Record, order uint64) sandbox.Pod {
	p := Pod(r, order)
	p.Phase, p.Ready, p.ContainersReady, p.IP = "Running", true, true, "10.0.0.1"
	p.Container = sandbox.Container{Known: true, Running: true, Started: true}
	return p
}

// Key is the view key of a record.
func Key(r *sandbox.Record) string { return contract.ViewKey(r.Tenant, r.Name) }

// World is a Kubernetes of which a test says what it holds, what the watches
// show of it, and how it fails.
type World struct {
	mu    sync.Mutex
	seen  map[string]podwatch.Seen
	live  map[string]*sandbox.Record
	fail  error
	lists int
}

// NewWorld returns an empty one.
func NewWorld() *World {
	return &World{seen: map[string]podwatch.Seen{}, live: map[string]*sandbox.Record{}}
}

// Set puts a record there, live and in the watches.
func (w *World) Set(r *sandbox.Record, order uint64, pods ...sandbox.Pod) {
	w.SetLive(r)
	w.Show(r, order, pods...)
}

// SetLive puts a record at the API server.
func (w *World) SetLive(r *sandbox.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.live[r.Name] = r.Clone()
}

// Show says what the watches show.
func (w *World) Show(r *sandbox.Record, order uint64, pods ...sandbox.Pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.seen[r.Name]
	s.Record, s.Pods, s.Order = r.Clone(), pods, order
	w.seen[r.Name] = s
}

// ShowObjects says what was listed for a record, and when.
func (w *World) ShowObjects(name string, at time.Time, o ...sandbox.Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.seen[name]
	s.Objects, s.ObjectsAt = o, at
	w.seen[name] = s
}

// Hide takes a record out of the watches.
func (w *World) Hide(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.seen, name)
}

// Remove takes a record away.
func (w *World) Remove(name string) {
	w.Hide(name)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.live, name)
}

// Fail makes the API server answer with an error, nil ends it.
func (w *World) Fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail = err
}

// Look is podwatch's.
func (w *World) Look(name string) podwatch.Seen {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.seen[name]
	s.Pods = slices.Clone(s.Pods)
	return s
}

// Live is podwatch's.
func (w *World) Live(_ context.Context, name string) (*sandbox.Record, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.live[name]
	return r.Clone(), r != nil, w.fail
}

// Refresh shows all that is live.
func (w *World) Refresh(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil {
		return w.fail
	}
	w.lists++
	for name, r := range w.live {
		s := w.seen[name]
		s.Record = r.Clone()
		w.seen[name] = s
	}
	return nil
}

// Keys is podwatch's.
func (w *World) Keys() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for s := range maps.Values(w.seen) {
		if s.Record != nil {
			out = append(out, Key(s.Record))
		}
	}
	return out
}

// ListObjects is podwatch's.
func (w *World) ListObjects(context.Context) error { return nil }

// Lists counts the calls of Refresh that succeeded.
func (w *World) Lists() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lists
}

// Events reads all events of a tenant from the stream, in order. It waits for a
// connection that was lost.
func Events(t testing.TB, c *natsx.Conn, tenant string) (all []jetstream.Msg) {
	t.Helper()
	Eventually(t, "there is a connection again", func() bool {
		var err error
		all, err = events(t.Context(), c, tenant)
		if err != nil && !errors.Is(err, nats.ErrReconnectBufExceeded) {
			t.Fatal(err)
		}
		return err == nil
	})
	return all
}

func events(ctx context.Context, c *natsx.Conn, tenant string) ([]jetstream.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cons, err := c.JS.OrderedConsumer(ctx, contract.EventStream, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{contract.EventsOf(tenant, "*")},
	})
	if err != nil {
		return nil, err
	}
	info, err := cons.Info(ctx)
	if err != nil || info.NumPending == 0 {
		return nil, err
	}
	batch, err := cons.Fetch(int(info.NumPending), jetstream.FetchMaxWait(5*time.Second))
	if err != nil {
		return nil, err
	}
	var out []jetstream.Msg
	for m := range batch.Messages() {
		out = append(out, m)
	}
	if err := batch.Error(); err != nil {
		return nil, err
	}
	if len(out) < int(info.NumPending) {
		return nil, fmt.Errorf("only %d events of %d came", len(out), info.NumPending)
	}
	return out, nil
}

// Types are the types of events, in order.
func Types(t testing.TB, msgs []jetstream.Msg) []sandbox.EventType {
	t.Helper()
	var out []sandbox.EventType
	for _, m := range msgs {
		d, err := contract.DecodeEvent(m.Data())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, d.Type)
	}
	return out
}

// ShowUnknown makes a record one that cannot be read.
func (w *World) ShowUnknown(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[name] = podwatch.Seen{Unknown: true}
}
