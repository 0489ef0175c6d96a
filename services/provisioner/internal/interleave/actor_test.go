//go:build apiserver

package interleave_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/cluster"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/quota"
)

// errDead is what a killed actor gets from every call: it has no effect any more.
var errDead = errors.New("dead")

// stepTimeout bounds the way from one step of an actor to its next.
const stepTimeout = 20 * time.Second

// actor is a provisioner at work on one command, or a watcher at work on one
// key: a goroutine that stops before each of its calls until the walk lets it
// go on. Only one actor moves at a time.
type actor struct {
	name string
	at   chan string // it stands before this call
	go_  chan bool   // go on; false: die
	done chan struct{}
	err  error

	mu   sync.Mutex // one call at a time: converge makes several at once
	dead bool
	busy bool // the call that it stands before finds that Kubernetes has no time

	standing string
	ended    bool
}

func start(name string, f func(a *actor) error) *actor {
	a := &actor{name: name, at: make(chan string), go_: make(chan bool), done: make(chan struct{})}
	go func() {
		defer close(a.done)
		a.err = f(a)
	}()
	a.settle()
	return a
}

// settle waits until the actor stands before its next call, or has ended.
func (a *actor) settle() {
	t := time.NewTimer(stepTimeout)
	defer t.Stop()
	select {
	case a.standing = <-a.at:
	case <-a.done:
		a.ended, a.standing = true, "end"
	case <-t.C:
		panic(a.name + " hangs after " + a.standing)
	}
}

// step lets it make the call that it stands before.
func (a *actor) step() { a.go_ <- true; a.settle() }

// refuse has Kubernetes refuse the call that it stands before.
func (a *actor) refuse() { a.busy = true; a.step() }

// kill ends it where it stands.
func (a *actor) kill() {
	a.go_ <- false
	for !a.ended {
		a.settle()
		if !a.ended {
			a.go_ <- false
		}
	}
}

// gate is called by the actor's goroutine before each call, with mu held.
func (a *actor) gate(call string) error {
	if a.dead {
		return errDead
	}
	a.at <- call
	if !<-a.go_ {
		a.dead = true
		return errDead
	}
	if a.busy {
		a.busy = false
		return fmt.Errorf("%s: %w", call, &cluster.Busy{After: time.Second, Undone: true})
	}
	return nil
}

// call gates f.
func (a *actor) call(name string, f func() error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.gate(name); err != nil {
		return err
	}
	return f()
}

// gatedCluster is the real cluster behind an actor's gate. check is asked before
// a deletion: does the live record want what is to go?
type gatedCluster struct {
	*cluster.Cluster
	a     *actor
	check func(ctx context.Context, pod *sandbox.Pod, o *sandbox.Object) error
	swap  func(prev, next *sandbox.Record) error

	volumes chan struct{} // one token for each CreateVolume that ended, so that the order is the same in each run
}

func (g *gatedCluster) Record(ctx context.Context, name string) (out *sandbox.Record, err error) {
	err = g.a.call("reads the record", func() error { out, err = g.Cluster.Record(ctx, name); return err })
	return out, err
}

func (g *gatedCluster) CreateRecord(ctx context.Context, r *sandbox.Record) (out *sandbox.Record, err error) {
	err = g.a.call("creates the record", func() error { out, err = g.Cluster.CreateRecord(ctx, r); return err })
	return out, err
}

func (g *gatedCluster) UpdateRecord(ctx context.Context, prev, next *sandbox.Record) (out *sandbox.Record, err error) {
	err = g.a.call(fmt.Sprintf("swaps the record to %s gen+%d inc%d", next.Desired, next.Generation-prev.Generation, next.Incarnation), func() error {
		if out, err = g.Cluster.UpdateRecord(ctx, prev, next); err != nil {
			return err
		}
		return g.swap(prev, next)
	})
	return out, err
}

func (g *gatedCluster) DeleteRecord(ctx context.Context, r *sandbox.Record) error {
	return g.a.call("deletes the record", func() error { return g.Cluster.DeleteRecord(ctx, r) })
}

func (g *gatedCluster) Ledger(ctx context.Context, tenant, key string) (out *quota.Ledger, err error) {
	err = g.a.call("reads the ledger", func() error { out, err = g.Cluster.Ledger(ctx, tenant, key); return err })
	return out, err
}

func (g *gatedCluster) SwapLedger(ctx context.Context, l *quota.Ledger) error {
	return g.a.call("swaps the ledger", func() error { return g.Cluster.SwapLedger(ctx, l) })
}

func (g *gatedCluster) Pod(ctx context.Context, name string) (out *sandbox.Pod, err error) {
	err = g.a.call("reads the pod", func() error { out, err = g.Cluster.Pod(ctx, name); return err })
	return out, err
}

func (g *gatedCluster) Pods(ctx context.Context, record string) (out []sandbox.Pod, order uint64, err error) {
	err = g.a.call("lists the pods", func() error { out, order, err = g.Cluster.Pods(ctx, record); return err })
	return out, order, err
}

func (g *gatedCluster) Objects(ctx context.Context, record string) (out []sandbox.Object, err error) {
	err = g.a.call("lists the volumes", func() error { out, err = g.Cluster.Objects(ctx, record); return err })
	return out, err
}

func (g *gatedCluster) ObjectsOf(ctx context.Context, runtimeID string) (out []sandbox.Object, err error) {
	err = g.a.call("reads the volume", func() error { out, err = g.Cluster.ObjectsOf(ctx, runtimeID); return err })
	return out, err
}

func (g *gatedCluster) CreateVolume(ctx context.Context, r *sandbox.Record, look cluster.Look) error {
	defer func() { g.volumes <- struct{}{} }()
	return g.a.call("creates the volume", func() error { return g.Cluster.CreateVolume(ctx, r, look) })
}

func (g *gatedCluster) CreatePod(ctx context.Context, r *sandbox.Record, look cluster.Look) (out *sandbox.Pod, err error) {
	<-g.volumes
	err = g.a.call("creates the pod", func() error { out, err = g.Cluster.CreatePod(ctx, r, look); return err })
	if errors.Is(err, cluster.ErrEnding) {
		g.volumes <- struct{}{} // it will be tried again
	}
	return out, err
}

func (g *gatedCluster) DeletePod(ctx context.Context, p *sandbox.Pod) error {
	return g.a.call("deletes pod "+p.Name, func() error {
		if err := g.check(ctx, p, nil); err != nil {
			return err
		}
		return g.Cluster.DeletePod(ctx, p)
	})
}

func (g *gatedCluster) DeleteObject(ctx context.Context, o *sandbox.Object) error {
	return g.a.call("deletes volume "+o.Name, func() error {
		if err := g.check(ctx, nil, o); err != nil {
			return err
		}
		return g.Cluster.DeleteObject(ctx, o)
	})
}

// gatedViews is the real store behind an actor's gate: before its read, between
// its read and its write, and before the live GET.
type gatedViews struct {
	store *views.Store
	a     *actor
	wrote func(views.Present)
}

func (g *gatedViews) Put(ctx context.Context, key string, src views.Source, now time.Time) (out views.Present, err error) {
	observe, live := src.Observe, src.Live
	var died error
	src.Observe = func(prev *sandbox.View) sandbox.View {
		v := observe(prev)
		if err := g.a.call("writes the view "+string(v.Status), func() error { return nil }); err != nil {
			died = err
			v.Generation = -1 // never newer: nothing is written
		}
		return v
	}
	src.Live = func(ctx context.Context) (bool, error) {
		if died != nil {
			return false, died
		}
		return live(ctx)
	}
	err = g.a.call("reads the view", func() error { return nil })
	if err == nil {
		out, err = g.store.Put(ctx, key, src, now)
	}
	if died != nil {
		return views.Present{}, died
	}
	if err == nil {
		g.wrote(out)
	}
	return out, err
}
