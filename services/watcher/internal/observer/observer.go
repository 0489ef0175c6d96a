// Package observer decides, sandbox by sandbox, what follows from what is seen
// of it: its view, its events, a reconcile where the cluster is not as the
// record wants it, a purge, the end of a key without a record.
package observer

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/lru"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
	"github.com/sandbar-io/sandbar/services/watcher/internal/meter"
	"github.com/sandbar-io/sandbar/services/watcher/internal/podwatch"
)

// Records is what Kubernetes says.
type Records interface {
	Look(record string) podwatch.Seen
	// Live asks the API server; exists is true too for a record that cannot be
	// read.
	Live(ctx context.Context, record string) (r *sandbox.Record, exists bool, err error)
}

// Views is the bucket.
type Views interface {
	Read(ctx context.Context, key string) (views.Present, error)
	Put(ctx context.Context, key string, src views.Source, now time.Time) (views.Present, error)
	Delete(ctx context.Context, key string, revision uint64) (bool, error)
	Recall(key string, k views.Kept) *views.Present
}

// Events publishes transitions.
type Events interface {
	Publish(ctx context.Context, v *sandbox.View) error
	Published(tenant string, t sandbox.Transition) bool
	Forget(v *sandbox.View)
}

// Commands sends commands.
type Commands interface {
	Send(ctx context.Context, c sandbox.Command, now time.Time) error
}

// Logs holds the last lines of failed containers.
type Logs interface {
	Tail(ctx context.Context, key string, p *sandbox.Pod) (string, bool)
}

// Config says how patient the observer is and how much it does at once.
type Config struct {
	Policy     sandbox.Policy
	PurgeAfter time.Duration
	Clocks     sandbox.Clocks // where neither client nor key asked for others
	Workers    int
	// FirstShown is how long a new record is left to the provisioner that made it: it
	// writes the first view as soon as the pod is made. One more writer of that would
	// cost a look at the API server and a conflict.
	FirstShown time.Duration
	// Routes asks public URLs, where Policy.VerifyRoute is set; else nil.
	Routes Routes
}

// A look that failed is done again, at first after minRetry. One that is due
// again for the time alone is not done more often than each minAgain, whatever
// clock the time came from.
const (
	minRetry = 20 * time.Millisecond
	maxRetry = 5 * time.Second
	minAgain = 50 * time.Millisecond
)

// Observer looks at keys. All of it belongs to one term of leadership.
type Observer struct {
	cfg      Config
	records  Records
	views    Views
	events   Events
	commands Commands
	logs     Logs
	clock    Clocks
	meter    *meter.Meter
	log      *zap.Logger
	now      func() time.Time

	queue workqueue.TypedRateLimitingInterface[string]

	mu       sync.Mutex
	memories map[string]*memory
	known    map[string]standing // what this one knows to stand there, by key
	// looking are the keys that are looked at now, with the newest revision that was
	// heard of meanwhile: it may be what the look itself wrote.
	looking map[string]uint64
	pass    *pass

	// kept is what stands under the keys that changed last, so that who changes again
	// is not read again.
	kept *lru.Cache
}

// keptViews is how many views are kept: ten seconds of 200 changes a second.
const keptViews = 2048

// New returns an observer that Run starts. now is the clock.
func New(cfg Config, records Records, v Views, e Events, c Commands, l Logs, clock Clocks, m *meter.Meter, log *zap.Logger, now func() time.Time) *Observer {
	return &Observer{
		cfg: cfg, records: records, views: v, events: e, commands: c, logs: l, clock: clock, meter: m, log: log, now: now,
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[string](minRetry, maxRetry)),
		memories: map[string]*memory{}, known: map[string]standing{}, looking: map[string]uint64{}, kept: lru.New(keptViews),
	}
}

// Run looks at what is enqueued until ctx ends.
func (o *Observer) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for range o.cfg.Workers {
		wg.Go(func() {
			for o.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	o.queue.ShutDown()
	wg.Wait()
}

// Enqueue has a key looked at; the queue gives no key to two workers.
func (o *Observer) Enqueue(key string) { o.queue.Add(key) }

// EnqueueAll has all keys looked at within a time, so that they do not stand in
// the way of what changes meanwhile.
func (o *Observer) EnqueueAll(keys []string, within time.Duration) {
	for _, key := range keys {
		o.queue.AddAfter(key, time.Duration(rand.Int64N(int64(within)+1)))
	}
}

// Foreign says that the bucket now holds something under a key. What this
// observer did not write itself is looked at: it may carry events, and it may be
// older than what is to be seen.
func (o *Observer) Foreign(key string, revision uint64, deleted bool) {
	_, record, ok := contract.ParseViewKey(key)
	if !ok {
		return
	}
	if deleted {
		if o.records.Look(record).Record != nil {
			o.Enqueue(key)
		}
		return
	}
	o.mu.Lock()
	heard, busy := o.looking[key]
	if busy {
		o.looking[key] = max(heard, revision)
	}
	o.mu.Unlock()
	if !busy {
		o.news(key, revision)
	}
}

// news has a key looked at whose revision this observer did not know.
func (o *Observer) news(key string, revision uint64) {
	o.mu.Lock()
	foreign := revision > o.known[key].revision
	o.mu.Unlock()
	if foreign {
		o.kept.Remove(key)
		o.Enqueue(key)
	}
}

func (o *Observer) begin(key string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.looking[key] = 0
}

func (o *Observer) end(key string) {
	o.mu.Lock()
	heard := o.looking[key]
	delete(o.looking, key)
	o.mu.Unlock()
	if heard > 0 {
		o.news(key, heard)
	}
}

func (o *Observer) next(ctx context.Context) bool {
	key, down := o.queue.Get()
	if down || ctx.Err() != nil {
		return false
	}
	defer o.queue.Done(key)
	start := time.Now()
	o.begin(key)
	again, err := o.look(ctx, key)
	o.end(key)
	o.meter.Looks.Observe(time.Since(start).Seconds())
	if err != nil {
		if o.queue.NumRequeues(key) == 0 && ctx.Err() == nil && !errors.Is(err, views.ErrMoved) {
			o.log.Warn("a sandbox must be looked at again", zap.String("key", key), zap.Error(err))
		}
		o.meter.Failures.Inc()
		o.queue.AddRateLimited(key)
		return true
	}
	o.queue.Forget(key)
	if !again.IsZero() {
		o.queue.AddAfter(key, max(again.Sub(o.now()), minAgain))
	}
	return true
}

// look does all that is to be done for a key now, and says when to look again
// although nothing changed; the zero time means never.
func (o *Observer) look(ctx context.Context, key string) (time.Time, error) {
	tenant, name, ok := contract.ParseViewKey(key)
	if !ok {
		return time.Time{}, nil // a later version's
	}
	p := o.present()
	seen := o.records.Look(name)
	switch {
	case seen.Unknown:
		return time.Time{}, nil
	case seen.Record == nil || seen.Record.Tenant != tenant:
		created, err := o.remove(ctx, key, tenant, name, seen.Order)
		if err == nil {
			p.settle(key, created)
		}
		return time.Time{}, err
	}
	return o.observe(ctx, key, seen, p)
}

// know keeps what stands under a key now.
func (o *Observer) know(key string, p views.Present) {
	o.kept.Add(key, p.Keep())
	o.mu.Lock()
	defer o.mu.Unlock()
	if p.Revision >= o.known[key].revision {
		o.known[key] = standing{p.Revision, p.Created.UnixNano()}
	}
}

// standing is the last revision of a key that an observer knows, and the creation
// time of its bucket, in unix nanoseconds.
type standing struct {
	revision uint64
	created  int64
}

// shows reports whether this observer has seen a view under a key of a bucket.
func (o *Observer) shows(key string, created time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	s, ok := o.known[key]
	return ok && s.created == created.UnixNano()
}

// recall is what the bucket holds under a key as far as this one knows. What is of
// another bucket than the present pass is about is nothing.
func (o *Observer) recall(key string, p *pass) *views.Present {
	kept, ok := o.kept.Get(key)
	if !ok || p != nil && !kept.(views.Kept).Created.Equal(p.created) {
		return nil
	}
	return o.views.Recall(key, kept.(views.Kept))
}

func (o *Observer) forget(key string) {
	if o.cfg.Routes != nil {
		o.cfg.Routes.Drop(key)
	}
	o.kept.Remove(key)
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.known, key)
	delete(o.memories, key)
}
