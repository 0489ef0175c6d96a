package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sandbar-io/sandbar/tools/devstack/stack"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/bed"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/figure"
)

const (
	changeRate   = 200
	changeCount  = 600 // sandboxes: each changes once in three seconds
	seenGateways = 3
	seenPatience = 10 * time.Second
	// lookEvery is the pause between two questions to one gateway. Without one the
	// questions take both cores of a small machine, and what is measured is their queue.
	lookEvery = time.Millisecond
)

var errUnseen = errors.New("not seen in time")

var visible = Benchmark{
	Name:  "visible",
	What:  fmt.Sprintf("from the change of a pod until all of %d gateways show it, %d changes a second; each gateway is asked by batches, %s after each answer", seenGateways, changeRate, lookEvery),
	Limit: "a KV put until a KV watch has it, of a view's size, at that rate; nobody is asked",
	Run: func(ctx context.Context, e *Env) ([]figure.Case, error) {
		b, err := e.Start(ctx, "visible", stack.Options{Gateways: seenGateways})
		if err != nil {
			return nil, err
		}
		defer func() { _ = b.Close() }()
		if err := b.Seed(ctx, changeCount, "127.0.0.1"); err != nil {
			return nil, err
		}
		all, err := b.List(ctx, b.Gateway(0))
		if err != nil {
			return nil, err
		}
		bytes, err := viewBytes(ctx, b)
		if err != nil {
			return nil, err
		}
		kv, err := newWatched(ctx, e, int(bytes)/changeCount)
		if err != nil {
			return nil, err
		}
		defer kv.conn.Close()
		watching, stop := context.WithCancel(ctx)
		var eyes []*eye
		var looking sync.WaitGroup
		defer looking.Wait()
		defer stop()
		for g := range seenGateways {
			y := &eye{b: b, gateway: b.Gateway(g), waiting: map[string]waiter{}, wake: make(chan struct{}, 1)}
			eyes = append(eyes, y)
			looking.Go(func() { y.look(watching) })
		}
		ours := func(ctx context.Context, n int) error {
			r := all[n%len(all)]
			// The n-th round over all sandboxes makes them unready, the next ready.
			return change(ctx, b, eyes, r, n/len(all)%2 == 1)
		}
		measure := open(changeRate, e.Duration, ours)
		rounds, err := figure.Alternate(ctx, e.Rounds, func(ctx context.Context) (figure.Sample, error) {
			for _, r := range all { // all begin ready
				if err := b.Ready(r.RuntimeID, true, "127.0.0.1"); err != nil {
					return figure.Sample{}, err
				}
			}
			if err := b.Settled(ctx, len(all)); err != nil {
				return figure.Sample{}, err
			}
			return measure(ctx)
		}, open(changeRate, e.Duration, func(ctx context.Context, n int) error { return kv.put(ctx, n) }))
		return []figure.Case{{
			Name: "200/s", Bounds: []figure.Bound{{Value: figure.P99, AtMost: 5}}, Rounds: rounds,
			Note: fmt.Sprintf("%d sandboxes, views of %.0f bytes", changeCount, bytes/changeCount),
		}}, err
	},
}

// change makes a pod ready or not, and returns when every gateway shows it.
func change(ctx context.Context, b *bed.Bed, eyes []*eye, r bed.Runtime, ready bool) error {
	want := "running"
	if ready {
		want = "ready"
	}
	var seen []chan struct{}
	for _, y := range eyes {
		seen = append(seen, y.await(r.SessionID, want))
	}
	if err := b.Ready(r.RuntimeID, ready, "127.0.0.1"); err != nil {
		return err
	}
	limit := time.NewTimer(seenPatience)
	defer limit.Stop()
	for _, s := range seen {
		select {
		case <-s:
		case <-limit.C:
			return errUnseen
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// waiter waits for one sandbox's pod status.
type waiter struct {
	want string
	seen chan struct{}
}

// eye asks one gateway for what somebody waits for, again and again.
type eye struct {
	b       *bed.Bed
	gateway string

	mu      sync.Mutex
	waiting map[string]waiter // by session
	wake    chan struct{}
}

func (y *eye) await(session, want string) chan struct{} {
	y.mu.Lock()
	defer y.mu.Unlock()
	w := waiter{want, make(chan struct{})}
	y.waiting[session] = w
	select {
	case y.wake <- struct{}{}:
	default:
	}
	return w.seen
}

func (y *eye) look(ctx context.Context) {
	for {
		ids := y.sessions()
		if len(ids) == 0 {
			select {
			case <-y.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		raw, err := y.b.Get(ctx, y.gateway+"/sessions/batch?ids="+strings.Join(ids, ","))
		if ctx.Err() != nil {
			return
		}
		var found []*bed.Runtime
		if err != nil || json.Unmarshal(raw, &found) != nil {
			continue // whoever waits says that it was not seen
		}
		y.saw(found)
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return
		}
	}
}

func (y *eye) sessions() []string {
	y.mu.Lock()
	defer y.mu.Unlock()
	var ids []string
	for id := range y.waiting {
		if ids = append(ids, id); len(ids) == batchSize {
			break
		}
	}
	return ids
}

func (y *eye) saw(found []*bed.Runtime) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, r := range found {
		if r == nil {
			continue
		}
		if w, ok := y.waiting[r.SessionID]; ok && w.want == r.PodStatus {
			close(w.seen)
			delete(y.waiting, r.SessionID)
		}
	}
}

// watched is a KV bucket of the limit's own NATS server, and its watch.
type watched struct {
	conn *nats.Conn
	kv   jetstream.KeyValue
	body []byte

	mu      sync.Mutex
	waiting map[uint64]chan struct{} // by revision
	newest  uint64
}

func newWatched(ctx context.Context, e *Env, size int) (*watched, error) {
	url, err := e.NATS(ctx)
	if err != nil {
		return nil, err
	}
	w := &watched{body: make([]byte, size), waiting: map[uint64]chan struct{}{}}
	if w.conn, err = nats.Connect(url); err != nil {
		return nil, fmt.Errorf("the limit's NATS: %w", err)
	}
	other, err := nats.Connect(url)
	if err != nil {
		return nil, fmt.Errorf("the limit's NATS: %w", err)
	}
	js, err := jetstream.New(w.conn)
	if err != nil {
		return nil, err
	}
	if w.kv, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "limit"}); err != nil {
		return nil, err
	}
	js, err = jetstream.New(other)
	if err != nil {
		return nil, err
	}
	bucket, err := js.KeyValue(ctx, "limit")
	if err != nil {
		return nil, err
	}
	updates, err := bucket.WatchAll(ctx, jetstream.UpdatesOnly())
	if err != nil {
		return nil, err
	}
	w.conn.SetClosedHandler(func(*nats.Conn) { other.Close() })
	go func() {
		for u := range updates.Updates() { // closed with its connection
			if u != nil {
				w.saw(u.Revision())
			}
		}
	}()
	return w, nil
}

func (w *watched) saw(revision uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.newest = revision
	if done := w.waiting[revision]; done != nil {
		close(done)
		delete(w.waiting, revision)
	}
}

// put writes one key, and returns when the watch has it.
func (w *watched) put(ctx context.Context, n int) error {
	revision, err := w.kv.Put(ctx, fmt.Sprintf("key-%d", n%changeCount), w.body)
	if err != nil {
		return err
	}
	w.mu.Lock()
	if w.newest >= revision {
		w.mu.Unlock()
		return nil
	}
	done := make(chan struct{})
	w.waiting[revision] = done
	w.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-time.After(seenPatience):
		return errUnseen
	}
}
