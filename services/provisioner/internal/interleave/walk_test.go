//go:build apiserver

package interleave_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/command"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/quota"
)

// scenario shapes a walk: what clients do, and what may go wrong.
type scenario struct {
	verbs       []sandbox.Verb // in this order; none: random, four of them
	redelivered int            // budgets
	killed      int
	lostAcks    int
	vanishing   int // pods
	failing     int
	evicting    int // pods that are deleted with a grace period
	lost        int // and on a node that does not answer
	busy        int // calls that Kubernetes has no time for
	wipes       int
	late        int // deadlines that pass
	restarts    int // of watchers
	watchers    int
	clocks      int  // pauses that a watcher's clock sends
	limited     bool // all clients come with a key that may run one sandbox
	forever     bool // no lost node comes back
	omit        sandbox.Omit
	// slow is the chance in percent that the first worker is not chosen though
	// it could move: it becomes the slow one that others overtake.
	slow int
	// guide steers a walk towards one corner of the space: as soon as an action
	// matches its next pattern, that is taken. Between them the seed chooses.
	guide []string
	// holds are not chosen by the seed as long as the guide is not at its end.
	holds []hold
}

// hold is a pattern that counts from this place in the guide on.
type hold struct {
	pattern string
	from    int
}

// message is a command in the queue.
type message struct {
	command   sandbox.Command
	subject   string
	seq       uint64
	delivered int
	gone      bool
	late      bool
	outcome   *command.Outcome
	op        *operation
	asked     int // of a clock's: how many operations there were when it was sent
}

// operation is what a client asked for, and what it was told.
type operation struct {
	verb     sandbox.Verb
	index    int
	gateway  int
	msg      *message
	state    string       // pending, done, unknown, no
	before   map[int]bool // operations that had been answered when this one began
	answered bool
}

// worker is a provisioner at work.
type worker struct {
	*actor
	msg *message
}

// watcher has caches that lag, and one thing that it is doing.
type watcher struct {
	record   *sandbox.Record
	pods     []sandbox.Pod
	objects  []sandbox.Object
	order    uint64
	known    bool   // the caches were filled once
	deleted  bool   // it saw the record go
	sent     string // the state of the caches for which it asked for a reconcile
	doing    *actor
	fullPass time.Time // the bucket's creation that its last full pass was for
}

type gateway struct {
	mem     *views.Memory
	created time.Time
	seen    *sandbox.View // the newest that it ever showed
}

// virtual is an attempt's context: its end is by the walk's clock.
type virtual struct {
	context.Context
	w   *walk
	end time.Time
}

func (v virtual) Err() error {
	if v.w.now.After(v.end) && !v.w.omit.Has(sandbox.OmitLateCheck) {
		return context.DeadlineExceeded
	}
	return nil
}

type walk struct {
	*world
	scenario
	ctx  context.Context
	rnd  *rand.Rand
	now  time.Time
	name string // record
	key  string
	sess string
	seed uint64

	msgs     []*message
	ops      []*operation
	workers  []*worker // by slot, nil: free
	watchers []*watcher
	gateways []*gateway
	complete map[time.Time]bool
	made     time.Time // of the bucket
	clientID string    // the runtime id that the client knows
	trace    []string
	fault    error
	nextID   int
	snap     snapshot
	guided   int             // how much of the guide is done
	died     bool            // a provisioner has
	stuck    map[string]bool // UIDs of pods that end only when their node is back
}

var patterns sync.Map

func pattern(s string) *regexp.Regexp {
	if re, ok := patterns.Load(s); ok {
		return re.(*regexp.Regexp)
	}
	re := regexp.MustCompile(s)
	patterns.Store(s, re)
	return re
}

// snapshot is all that stands in the two servers between two steps.
type snapshot struct {
	live    *sandbox.Record
	pods    []sandbox.Pod
	order   uint64
	objects []sandbox.Object
	present views.Present
}

func (k *walk) look() error {
	var err error
	if k.snap.live, err = k.truth.Record(k.ctx, k.name); err != nil {
		return err
	}
	if k.snap.pods, k.snap.order, err = k.truth.Pods(k.ctx, k.name); err != nil {
		return err
	}
	if k.snap.objects, err = k.truth.Objects(k.ctx, k.name); err != nil {
		return err
	}
	k.snap.present, err = k.store.Read(k.ctx, k.key)
	return err
}

const (
	tenant  = sandbox.DefaultTenant
	workers = 2
)

func (w *world) walk(ctx context.Context, s scenario, seed uint64) (trace []string, err error) {
	// A deadline of its own: the client's for a request without one is 2 s, too
	// short for a machine that is busy with other tests.
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	k := &walk{
		world: w, scenario: s, ctx: ctx, rnd: rand.New(rand.NewPCG(seed, 1)), now: time.Now(), seed: seed,
		sess: fmt.Sprintf("walk-%d-%d", seed, time.Now().UnixNano()), complete: map[time.Time]bool{}, stuck: map[string]bool{},
		workers: make([]*worker, workers),
	}
	k.name = sandbox.RecordName(tenant, k.sess)
	k.key = contract.ViewKey(tenant, k.name)
	if k.made, err = w.created(ctx); err != nil {
		return nil, err
	}
	k.complete[k.made] = true
	for range max(s.watchers, 1) {
		k.watchers = append(k.watchers, &watcher{fullPass: k.made})
	}
	for range 2 {
		k.gateways = append(k.gateways, &gateway{mem: views.NewMemory(), created: k.made})
	}
	defer k.bury()
	err = k.run()
	return k.trace, err
}

// maxSteps ends a walk that does not come to rest.
const maxSteps = 900

func (k *walk) run() error {
	for range maxSteps {
		if err := k.look(); err != nil {
			return err
		}
		acts, err := k.actions()
		if err != nil {
			return err
		}
		if len(acts) == 0 {
			return k.atRest()
		}
		a := k.choose(acts)
		k.trace = append(k.trace, a.name)
		if err := a.do(); err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
		if k.fault != nil {
			return k.fault
		}
		if err := k.watchViews(); err != nil {
			return err
		}
		if err := k.watchPlaces(); err != nil {
			return err
		}
	}
	return errors.New("the walk does not come to rest")
}

type action struct {
	name   string
	weight int
	do     func() error
}

func (k *walk) choose(acts []action) action {
	if k.guided < len(k.guide) {
		next := pattern(k.guide[k.guided])
		for _, a := range acts {
			if next.MatchString(a.name) {
				k.guided++
				return a
			}
		}
		free := slices.DeleteFunc(slices.Clone(acts), func(a action) bool {
			return slices.ContainsFunc(k.holds, func(h hold) bool {
				return k.guided >= h.from && pattern(h.pattern).MatchString(a.name)
			})
		})
		if len(free) > 0 {
			acts = free
		}
	}
	total := 0
	for _, a := range acts {
		total += a.weight
	}
	n := k.rnd.IntN(total)
	for _, a := range acts {
		if n -= a.weight; n < 0 {
			return a
		}
	}
	return acts[len(acts)-1]
}

// bury ends what still runs.
func (k *walk) bury() {
	for _, w := range k.workers {
		if w != nil && !w.ended {
			w.kill()
		}
	}
	for _, w := range k.watchers {
		if w.doing != nil && !w.doing.ended {
			w.doing.kill()
		}
	}
}

// publish puts a command into the real stream, for its sequence.
func (k *walk) publish(c sandbox.Command) (*message, error) {
	k.nextID++
	c.ID = fmt.Sprintf("c%d-%d", k.seed, k.nextID)
	c.Tenant, c.SessionID = tenant, k.sess
	subject, body, err := contract.EncodeCommand(c)
	if err != nil {
		return nil, err
	}
	ack, err := k.conn.JS.Publish(k.ctx, subject, body, jetstream.WithMsgID(k.sess+c.ID))
	if err != nil {
		return nil, err
	}
	decoded, err := contract.DecodeCommand(subject, body)
	if err != nil {
		return nil, err
	}
	m := &message{command: decoded, subject: subject, seq: ack.Sequence}
	k.msgs = append(k.msgs, m)
	return m, nil
}

// ask is a client's request at a gateway.
func (k *walk) ask(verb sandbox.Verb, gw int) error {
	c := sandbox.Command{Verb: verb, Deadline: k.now.Add(8 * time.Second), RuntimeID: k.clientID}
	if verb == sandbox.Start {
		c.RuntimeID = ""
		c.Fresh = (uint64(len(k.ops))+k.seed)%2 == 0 // whether that is so or not
		c.Spec = &sandbox.Spec{Image: fmt.Sprintf("registry.test/image:%d", len(k.ops)+1), ResourceFactor: 1}
	}
	if k.limited && (verb == sandbox.Start || verb == sandbox.Resume) {
		c.Limits = k.limits()
	}
	m, err := k.publish(c)
	if err != nil {
		return err
	}
	op := &operation{verb: verb, index: len(k.ops), gateway: gw, msg: m, state: "pending", before: map[int]bool{}}
	for _, o := range k.ops {
		if o.state == "done" {
			op.before[o.index] = true
		}
	}
	m.op = op
	k.ops = append(k.ops, op)
	return nil
}

// deliver gives a message to a free worker.
func (k *walk) deliver(m *message, slot int) {
	m.delivered++
	number := m.delivered
	wk := &worker{msg: m}
	k.workers[slot] = wk
	wk.actor = start(fmt.Sprintf("p%d", slot), func(a *actor) error {
		gc := &gatedCluster{Cluster: k.truth, a: a, check: k.checkDelete, volumes: make(chan struct{}, 64),
			swap: func(prev, next *sandbox.Record) error { return k.checkSwap(m, prev, next) }}
		r := &command.Runner{
			Cluster: gc, Places: quota.NewKeeper(gc, k.omit), Views: &gatedViews{store: k.stores(), a: a, wrote: func(views.Present) {}},
			Route: func(tenant, sessionID, runtimeID string) sandbox.Route {
				return k.config().URLs.NewRoute(runtimeID, sandbox.DefaultPorts)
			},
			Policy: sandbox.DefaultPolicy, Now: func() time.Time { return k.now }, Omit: k.omit,
		}
		ctx := virtual{k.ctx, k, k.now.Add(sandbox.LongestAttempt)}
		out, err := r.Run(ctx, m.command, m.seq)
		if err != nil {
			return k.undone(a, m, number, err)
		}
		if err := a.call("replies", func() error {
			if m.outcome == nil && !out.Silent && !m.late { // nobody waits any longer
				m.outcome = &out
			}
			return nil
		}); err != nil {
			return err
		}
		if err := r.Follow(ctx, out); err != nil {
			return err
		}
		return a.call("acks", func() error {
			if k.lostAcks > 0 && k.rnd.IntN(3) == 0 {
				k.lostAcks--
				k.trace = append(k.trace, "  (the ack is lost)")
				return nil
			}
			m.gone = true
			return nil
		})
	})
	k.release(slot)
}

// undone is what the bus makes of an attempt that failed: a client's command of
// which nothing was begun, by this delivery or another, is gone and told so.
func (k *walk) undone(a *actor, m *message, number int, err error) error {
	var busy *command.Busy
	if m.command.Bound() || number > 1 || !errors.As(err, &busy) {
		return err
	}
	return a.call("says that nothing was done", func() error {
		if m.delivered > 1 && !k.omit.Has(sandbox.OmitAlone) {
			return err
		}
		m.gone = true
		if m.outcome == nil && !m.late {
			m.outcome = &command.Outcome{Err: sandbox.Wrap(err, sandbox.CodeUnavailable, "nothing was done")}
		}
		return nil
	})
}

func (k *walk) stores() *views.Store { return views.NewStore(k.conn.JS, k.sealer, k.omit) }

// release frees the slot of a worker that has ended; a broken promise that it met
// ends the walk.
func (k *walk) release(slot int) {
	wk := k.workers[slot]
	if wk == nil || !wk.ended {
		return
	}
	k.workers[slot] = nil
	var v *violation
	if errors.As(wk.err, &v) {
		k.fault = v
	}
}

// checkDelete: nothing that the live record wants is ever deleted.
func (k *walk) checkDelete(ctx context.Context, p *sandbox.Pod, o *sandbox.Object) error {
	live, err := k.truth.Record(ctx, k.name)
	if err != nil || live == nil {
		return err
	}
	if p != nil && !p.Terminating && p.RecordUID == live.UID && live.Wants(p.RuntimeID, p.Incarnation) {
		return broken("wanted", "pod %s is deleted, but the record (gen %d) wants it", p.Name, live.Generation)
	}
	if o != nil && o.RecordUID == live.UID && live.WantsVolume(o.RuntimeID) {
		return broken("wanted", "volume %s is deleted, but the record (gen %d) wants it", o.Name, live.Generation)
	}
	return nil
}

// checkSwap: a command changes only the sandbox that it names.
func (k *walk) checkSwap(m *message, prev, _ *sandbox.Record) error {
	if m.command.Verb != sandbox.Start && m.command.RuntimeID != prev.RuntimeID {
		return broken("named", "%s of %s changed %s", m.command.Verb, m.command.RuntimeID, prev.RuntimeID)
	}
	return nil
}

// watchViews: on one gateway a view never goes back, and the view of a sandbox
// that lives is never lost.
func (k *walk) watchViews() error {
	for i, g := range k.gateways {
		v := g.mem.Session(tenant, k.sess)
		if g.seen != nil && v != nil && (v.Generation < g.seen.Generation || v.Generation == g.seen.Generation && v.Incarnation < g.seen.Incarnation) {
			return broken("back", "gateway %d showed gen %d inc %d and now gen %d inc %d", i, g.seen.Generation, g.seen.Incarnation, v.Generation, v.Incarnation)
		}
		if g.seen != nil && v == nil && g.seen.Status != sandbox.StatusStopped {
			live, err := k.truth.Record(k.ctx, k.name)
			if err != nil {
				return err
			}
			if live != nil && live.Desired != sandbox.Stopped && live.Generation == g.seen.Generation {
				return broken("lost", "gateway %d says 404 for a sandbox that lives (gen %d)", i, live.Generation)
			}
		}
		if v != nil {
			g.seen = v.View
		}
	}
	return nil
}

// sync is a gateway's watch catching up: with the same bucket only.
func (k *walk) sync(i int) error {
	g := k.gateways[i]
	p, err := k.store.Read(k.ctx, k.key)
	if err != nil || !p.Created.Equal(g.created) {
		return err
	}
	k.take(g.mem, p)
	return nil
}

func (k *walk) take(m *views.Memory, p views.Present) {
	if p.View != nil {
		m.Merge(p.View, p.Revision)
	} else if p.Revision > 0 {
		m.Delete(k.key, p.Revision, k.now)
	}
}

// rebuild is a gateway that sees a new bucket: it swaps its memory once that is
// complete.
func (k *walk) rebuild(i int) error {
	g := k.gateways[i]
	p, err := k.store.Read(k.ctx, k.key)
	if err != nil || !k.complete[p.Created] {
		return err
	}
	next := views.NewMemory()
	k.take(next, p)
	stream, err := k.conn.JS.Stream(k.ctx, contract.ViewStream)
	if err != nil {
		return err
	}
	g.mem.Replace(next, stream.CachedInfo().State.LastSeq)
	g.created = p.Created
	return nil
}

// readIndex makes a gateway's memory exact; false: it cannot be confirmed.
func (k *walk) readIndex(i int) (bool, error) {
	p, err := k.store.Read(k.ctx, k.key)
	if err != nil {
		return false, err
	}
	if !p.Created.Equal(k.gateways[i].created) {
		if !k.complete[p.Created] {
			return false, nil
		}
		return true, k.rebuild(i)
	}
	return true, k.sync(i)
}

// answer is a gateway that got the reply.
func (k *walk) answer(op *operation) error {
	out := op.msg.outcome
	op.answered = true
	if out.Err != nil {
		op.state = "no"
		if sandbox.CodeOf(out.Err) == sandbox.CodeOvertaken {
			op.state = "unknown" // it may have been done, and undone since
		}
		return nil
	}
	g := k.gateways[op.gateway]
	g.mem.Merge(out.View, out.Revision)
	return k.told(op, g)
}

// told checks what the client is told: that the answering gateway shows the
// change, and the other one after a read index.
func (k *walk) told(op *operation, g *gateway) error {
	op.state = "done"
	v := g.mem.Session(tenant, k.sess)
	if op.verb != sandbox.Start && op.verb != sandbox.Resume {
		return nil
	}
	out := op.msg.outcome
	if out != nil && out.View != nil {
		k.clientID = out.View.RuntimeID
		if out.Record != nil && out.View.Generation < out.Record.Generation || out.View.Status == sandbox.StatusStopped {
			return broken("shown", "%s is answered with a view of gen %d (%s), the record has gen %d", op.verb, out.View.Generation, out.View.Status, out.Record.Generation)
		}
		if v == nil || v.Generation < out.View.Generation {
			return broken("shown", "%s is answered, and the answering gateway does not show it", op.verb)
		}
	}
	return nil
}

// deadline is a gateway that got no reply in time: a read index, and an answer if
// the view's last command is this one, else "unknown".
func (k *walk) deadline(op *operation) error {
	op.answered = true
	ok, err := k.readIndex(op.gateway)
	if err != nil {
		return err
	}
	g := k.gateways[op.gateway]
	if v := g.mem.Session(tenant, k.sess); ok && v != nil && v.LastCommand == op.msg.command.ID {
		k.clientID = v.RuntimeID
		return k.told(op, g)
	}
	op.state = "unknown"
	if k.omit.Has(sandbox.OmitUnknownOutcome) {
		op.state = "no" // what the client takes "not done" for
	}
	return nil
}
