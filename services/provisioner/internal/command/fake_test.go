package command_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/cluster"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/command"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/quota"
)

// Calls of the fake, by which faults are placed.
const (
	getRecord    = "get record"
	createRecord = "create record"
	updateRecord = "update record"
	deleteRecord = "delete record"
	getPod       = "get pod"
	listPods     = "list pods"
	listObjects  = "list objects"
	getObjects   = "get objects"
	createVolume = "create volume"
	createPod    = "create pod"
	createRoute  = "create route"
	deletePod    = "delete pod"
	deleteObject = "delete object"
	check        = "check"
	putView      = "put view"
	getLedger    = "get ledger"
	swapLedger   = "swap ledger"
)

// fault is what happens at the n-th call of a kind (n from 1). The error is what
// the caller gets.
type fault func(n int) error

// fake is a cluster in memory that keeps what the API server promises: unique
// names, swaps by resourceVersion, deletes by UID. It exists for what the real
// one cannot be made to do at will: to fail, to be slow, to lose an answer.
type fake struct {
	mu      sync.Mutex
	version uint64
	records map[string]*sandbox.Record
	pods    map[string]*sandbox.Pod
	specs   map[string]sandbox.Spec // by pod
	keys    map[string]string       // by pod: the session key that it was made with
	objects map[string]*sandbox.Object
	views   map[string]*sandbox.View
	ledgers map[string][]byte // by name: as JSON, so that nothing is shared
	swaps   map[string]uint64 // by name: the version

	calls    []string
	count    map[string]int
	believed []bool           // of each put of a view: that its key was taken for absent
	looked   int              // looks before a create
	before   map[string]fault // nothing was done
	after    map[string]fault // it was done, and the answer is lost
	linger   bool             // a deleted pod goes on ending
	watch    func()           // after each change of a record or ledger, under the lock
}

func newFake() *fake {
	return &fake{
		version: 1000, records: map[string]*sandbox.Record{}, pods: map[string]*sandbox.Pod{}, specs: map[string]sandbox.Spec{}, keys: map[string]string{},
		objects: map[string]*sandbox.Object{}, views: map[string]*sandbox.View{}, ledgers: map[string][]byte{}, swaps: map[string]uint64{},
		count: map[string]int{}, before: map[string]fault{}, after: map[string]fault{},
	}
}

// call is one call: its faults, and between them what it does, under the lock.
func (f *fake) call(ctx context.Context, kind, what string, do func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f.mu.Lock()
	f.count[kind]++
	n := f.count[kind]
	f.calls = append(f.calls, strings.TrimSpace(kind+" "+what))
	before, after := f.before[kind], f.after[kind]
	f.mu.Unlock()
	if before != nil {
		if err := before(n); err != nil {
			return err
		}
	}
	f.mu.Lock()
	err := do()
	if err == nil && f.watch != nil && (kind == createRecord || kind == updateRecord || kind == swapLedger) {
		f.watch()
	}
	f.mu.Unlock()
	if err == nil && after != nil {
		err = after(n)
	}
	return err
}

func (f *fake) next() uint64 { f.version++; return f.version }

func (f *fake) nextString() string { return strconv.FormatUint(f.next(), 10) }

func (f *fake) Record(ctx context.Context, name string) (out *sandbox.Record, err error) {
	err = f.call(ctx, getRecord, "", func() error { out = f.records[name].Clone(); return nil })
	return out, err
}

func (f *fake) CreateRecord(ctx context.Context, r *sandbox.Record) (out *sandbox.Record, err error) {
	err = f.call(ctx, createRecord, "", func() error {
		if f.records[r.Name] != nil {
			return cluster.ErrMoved
		}
		out = r.Clone()
		out.UID, out.ResourceVersion = "uid-"+f.nextString(), f.nextString()
		f.records[r.Name] = out.Clone()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (f *fake) UpdateRecord(ctx context.Context, prev, next *sandbox.Record) (out *sandbox.Record, err error) {
	err = f.call(ctx, updateRecord, string(next.Desired), func() error {
		if live := f.records[prev.Name]; live == nil || live.UID != prev.UID || live.ResourceVersion != prev.ResourceVersion {
			return cluster.ErrMoved
		}
		out = next.Clone()
		out.ResourceVersion = f.nextString()
		f.records[prev.Name] = out.Clone()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (f *fake) DeleteRecord(ctx context.Context, r *sandbox.Record) error {
	return f.call(ctx, deleteRecord, "", func() error {
		if live := f.records[r.Name]; live != nil && live.UID == r.UID && live.ResourceVersion == r.ResourceVersion {
			delete(f.records, r.Name)
		}
		return nil
	})
}

func (f *fake) Check(*sandbox.Spec) error {
	return f.call(context.Background(), check, "", func() error { return nil })
}

// Requests: 1 CPU and 1 GiB for each step of the resource factor.
func (f *fake) Requests(s *sandbox.Spec) (cpu, memory int64) {
	return 1000 * int64(s.ResourceFactor), int64(s.ResourceFactor) << 30
}

func (f *fake) Ledger(ctx context.Context, tenant, key string) (out *quota.Ledger, err error) {
	err = f.call(ctx, getLedger, key, func() error {
		name := sandbox.LedgerName(tenant, key)
		if f.ledgers[name] == nil {
			return nil
		}
		out = &quota.Ledger{}
		if err := json.Unmarshal(f.ledgers[name], out); err != nil {
			return err
		}
		out.Version = strconv.FormatUint(f.swaps[name], 10)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (f *fake) SwapLedger(ctx context.Context, l *quota.Ledger) error {
	return f.call(ctx, swapLedger, l.Key, func() error {
		name := sandbox.LedgerName(l.Tenant, l.Key)
		if held := f.swaps[name]; held != 0 && l.Version != strconv.FormatUint(held, 10) || held == 0 && l.Version != "" {
			return quota.ErrMoved
		}
		f.swaps[name] = f.next()
		var err error
		f.ledgers[name], err = json.Marshal(l)
		return err
	})
}

func (f *fake) Pod(ctx context.Context, name string) (out *sandbox.Pod, err error) {
	err = f.call(ctx, getPod, "", func() error { out = clone(f.pods[name]); return nil })
	return out, err
}

func (f *fake) Pods(ctx context.Context, record string) (out []sandbox.Pod, order uint64, err error) {
	err = f.call(ctx, listPods, "", func() error {
		for _, name := range slices.Sorted(maps.Keys(f.pods)) {
			if p := f.pods[name]; p.Record == record {
				out = append(out, *p)
			}
		}
		order = f.version
		return nil
	})
	return out, order, err
}

func (f *fake) Objects(ctx context.Context, _ string) (out []sandbox.Object, err error) {
	err = f.call(ctx, listObjects, "", func() error {
		for _, name := range slices.Sorted(maps.Keys(f.objects)) {
			out = append(out, *f.objects[name])
		}
		return nil
	})
	return out, err
}

func (f *fake) ObjectsOf(ctx context.Context, runtimeID string) (out []sandbox.Object, err error) {
	err = f.call(ctx, getObjects, "", func() error {
		for _, name := range slices.Sorted(maps.Keys(f.objects)) {
			if o := f.objects[name]; o.Name == runtimeID {
				out = append(out, *o)
			}
		}
		return nil
	})
	return out, err
}

// looks counts what a create asks for before it creates.
func (f *fake) looks(look cluster.Look) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if look == cluster.LookFirst {
		f.looked++
	}
}

func (f *fake) CreateVolume(ctx context.Context, r *sandbox.Record, look cluster.Look) error {
	f.looks(look)
	return f.call(ctx, createVolume, r.RuntimeID, func() error { return f.object(r, "PersistentVolumeClaim") })
}

func (f *fake) CreateRoute(ctx context.Context, r *sandbox.Record, _ cluster.Look) error {
	return f.call(ctx, createRoute, r.RuntimeID, func() error { return f.object(r, "Ingress") })
}

func (f *fake) object(r *sandbox.Record, kind string) error {
	key := kind + "/" + r.RuntimeID
	if o := f.objects[key]; o != nil {
		if o.Terminating || o.RecordUID != r.UID {
			return cluster.ErrEnding
		}
		return nil
	}
	f.objects[key] = &sandbox.Object{
		Kind: kind, Name: r.RuntimeID, UID: "uid-" + f.nextString(), RecordUID: r.UID, RuntimeID: r.RuntimeID,
		Generation: r.Generation, Volume: kind == "PersistentVolumeClaim",
	}
	return nil
}

func (f *fake) CreatePod(ctx context.Context, r *sandbox.Record, look cluster.Look) (out *sandbox.Pod, err error) {
	f.looks(look)
	err = f.call(ctx, createPod, sandbox.PodName(r.RuntimeID, r.Incarnation), func() (err error) {
		out, err = f.create(r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (f *fake) create(r *sandbox.Record) (*sandbox.Pod, error) {
	name := sandbox.PodName(r.RuntimeID, r.Incarnation)
	if p := f.pods[name]; p != nil {
		if p.Terminating || p.RecordUID != r.UID {
			return nil, cluster.ErrEnding
		}
		return clone(p), nil
	}
	f.pods[name] = &sandbox.Pod{
		Name: name, UID: "uid-" + f.nextString(), Record: r.Name, RecordUID: r.UID, RuntimeID: r.RuntimeID,
		Generation: r.Generation, Incarnation: r.Incarnation, Order: f.next(), Phase: "Pending",
	}
	f.specs[name], f.keys[name] = r.Spec.Clone(), r.SessionKey
	return clone(f.pods[name]), nil
}

func (f *fake) DeletePod(ctx context.Context, p *sandbox.Pod) error {
	return f.call(ctx, deletePod, p.Name, func() error {
		live := f.pods[p.Name]
		if live == nil || live.UID != p.UID {
			return nil
		}
		if live.Terminating, live.Order = true, f.next(); !f.linger {
			delete(f.pods, p.Name)
		}
		return nil
	})
}

func (f *fake) DeleteObject(ctx context.Context, o *sandbox.Object) error {
	return f.call(ctx, deleteObject, o.Kind, func() error {
		if live := f.objects[o.Kind+"/"+o.Name]; live != nil && live.UID == o.UID {
			delete(f.objects, o.Kind+"/"+o.Name)
			f.next()
		}
		return nil
	})
}

// Put keeps what views.Store promises: no newer view is replaced, nor one by
// another that no reader could tell from it; an absent key is made only for a
// record that is live.
func (f *fake) Put(ctx context.Context, key string, src views.Source, _ time.Time) (views.Present, error) {
	var out views.Present
	f.mu.Lock()
	f.believed = append(f.believed, src.Known != nil)
	prev := f.views[key].Clone()
	f.mu.Unlock()
	if prev == nil {
		if ok, err := src.Live(ctx); err != nil {
			return out, err
		} else if !ok {
			return out, views.ErrMoved
		}
	}
	next := src.Observe(prev)
	err := f.call(ctx, putView, string(next.Status), func() error {
		held := f.views[key]
		if held == nil || sandbox.Newer(&next, held) >= 0 && !sandbox.SameForReaders(&next, held) {
			f.views[key] = next.Clone()
		}
		out = views.Present{View: f.views[key].Clone(), Revision: f.next()}
		return nil
	})
	if err != nil {
		return views.Present{}, err
	}
	return out, nil
}

func clone(p *sandbox.Pod) *sandbox.Pod {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}

// writes lists the calls that change something, in order.
func (f *fake) writes() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, c := range f.calls {
		if strings.HasPrefix(c, "create") || strings.HasPrefix(c, "update") || strings.HasPrefix(c, "delete") {
			out = append(out, c)
		}
	}
	return out
}

// forget empties what was recorded, and takes the faults away.
func (f *fake) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = nil
	clear(f.count)
	f.looked = 0
	clear(f.before)
	clear(f.after)
}

// The session of all tests; each has a fake of its own.
const (
	tenant  = "acme"
	session = "the session"
)

var (
	recordName = sandbox.RecordName(tenant, session)
	viewKey    = contract.ViewKey(tenant, recordName)
)

// bench is a runner on a fake, and the clock of both.
type bench struct {
	*command.Runner
	*fake
	t   *testing.T
	mu  sync.Mutex
	at  time.Time
	seq uint64

	limits *sandbox.Limits // of the key that all commands come with
	fresh  bool            // whether starts say that their session is
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, fake: newFake(), at: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), seq: 100}
	b.Runner = b.another()
	return b
}

// another is one more provisioner's.
func (b *bench) another() *command.Runner {
	return &command.Runner{
		Cluster: b.fake, Places: quota.NewKeeper(b.fake, 0), Views: b.fake, Now: b.now, Policy: sandbox.DefaultPolicy,
		Route: func(_, _, runtimeID string) sandbox.Route {
			return sandbox.Route{Label: runtimeID, URL: "https://" + runtimeID + ".example.org", WorkHosts: map[string]int{}}
		},
	}
}

func (b *bench) now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.at
}

func (b *bench) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at = b.at.Add(d)
}

func spec(image string) *sandbox.Spec {
	return &sandbox.Spec{Image: image, Command: []string{"run"}, Environment: map[string]string{"A": "1"}, ResourceFactor: 2}
}

// command is a client's command that means the sandbox of now.
func (b *bench) command(verb sandbox.Verb) (sandbox.Command, uint64) {
	b.seq++
	c := sandbox.Command{
		ID: fmt.Sprint("c", b.seq), Verb: verb, Tenant: tenant, SessionID: session, Deadline: b.now().Add(10 * time.Second),
	}
	if verb == sandbox.Start || verb == sandbox.Resume {
		c.Limits = b.limits
	}
	if verb == sandbox.Start {
		c.Spec, c.Fresh = spec("image-1"), b.fresh
	} else if r := b.record(); r != nil {
		c.RuntimeID = r.RuntimeID
	}
	return c, b.seq
}

// bound is a watcher's command about the record of now.
func (b *bench) bound(verb sandbox.Verb) sandbox.Command {
	r := b.record()
	return sandbox.Command{
		ID: "w1", Verb: verb, Tenant: tenant, SessionID: session, RuntimeID: r.RuntimeID, Generation: r.Generation, RecordUID: r.UID, Fence: r.Fence,
	}
}

// do runs a command that must be accepted.
func (b *bench) do(verb sandbox.Verb) command.Outcome {
	b.t.Helper()
	c, seq := b.command(verb)
	out, err := b.Run(b.t.Context(), c, seq)
	if err != nil || out.Err != nil {
		b.t.Fatalf("%s: %v, %v", verb, err, out.Err)
	}
	return out
}

func (b *bench) record() *sandbox.Record {
	b.fake.mu.Lock()
	defer b.fake.mu.Unlock()
	return b.records[recordName].Clone()
}

// change swaps the record as another provisioner would.
func (b *bench) change(f func(*sandbox.Record)) {
	b.fake.mu.Lock()
	defer b.fake.mu.Unlock()
	r := b.records[recordName]
	f(r)
	r.ResourceVersion = b.nextString()
}

// world says in one line what is there.
func (b *bench) world() string {
	b.fake.mu.Lock()
	defer b.fake.mu.Unlock()
	r := b.records[recordName]
	if r == nil {
		return fmt.Sprintf("no record, %d pods, %d objects", len(b.pods), len(b.objects))
	}
	v := b.views[viewKey]
	status := sandbox.Status("no view")
	if v != nil {
		status = v.Status
	}
	return fmt.Sprintf("%s %d, %d pods, %d objects, %s", r.Desired, r.Incarnation, len(b.pods), len(b.objects), status)
}

func (b *bench) is(want string) {
	b.t.Helper()
	if got := b.world(); got != want {
		b.t.Errorf("there is: %s; want: %s\n%s", got, want, strings.Join(b.calls, "\n"))
	}
}

// situation brings a bench into one of the states that a command can find.
type situation string

const (
	none    situation = "none"
	running situation = "running"
	failed  situation = "failed"
	paused  situation = "paused"
	stopped situation = "stopped"
	ending  situation = "ending" // runs, and its pod ends without an end
	older   situation = "older"  // runs, in a record of an earlier version: what it has is listed
)

func inSituation(t *testing.T, s situation) *bench {
	t.Helper()
	return inSituationOf(t, s, nil)
}

// inSituationOf is inSituation by a key with limits.
func inSituationOf(t *testing.T, s situation, limits *sandbox.Limits) *bench {
	t.Helper()
	b := newBench(t)
	b.limits = limits
	if s == none {
		return b
	}
	b.do(sandbox.Start)
	switch s {
	case paused:
		b.do(sandbox.Pause)
	case stopped:
		b.do(sandbox.Stop)
	case failed:
		for _, p := range b.pods {
			p.Phase, p.Reason = "Failed", "Evicted"
		}
	case ending:
		for _, p := range b.pods {
			p.Terminating = true
		}
	case older:
		b.change(func(r *sandbox.Record) { r.Original = "" })
	case none, running:
	}
	b.pass(time.Minute)
	b.forget()
	return b
}
