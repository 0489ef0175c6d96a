// Package leader lets one watcher of several work: the one that holds the Lease.
package leader

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// Times of the lease. Work stops when Renew has passed since the lease was last
// renewed; another may take it when Duration has. What is between the two is for
// the requests that are still under way and for clocks that run unequally.
type Times struct {
	Duration time.Duration // at least a second, in whole seconds
	Renew    time.Duration
	Retry    time.Duration
}

// Elector takes part in the election.
type Elector struct {
	identity string
	times    Times
	lock     func() resourcelock.Interface
	told     func(verb string, err error)
	log      *zap.Logger
	leads    atomic.Bool
	leader   atomic.Pointer[string]
}

// New returns an elector by a Lease. told is told how each request for it went.
func New(client kubernetes.Interface, namespace, name, identity string, times Times, told func(verb string, err error), log *zap.Logger) *Elector {
	return NewWithLock(func() resourcelock.Interface {
		return &resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Client: client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
		}
	}, identity, times, told, log)
}

// NewWithLock returns an elector by any lock; each term uses a new one.
func NewWithLock(l func() resourcelock.Interface, identity string, times Times, told func(verb string, err error), log *zap.Logger) *Elector {
	return &Elector{identity: identity, times: times, lock: l, told: told, log: log}
}

// Leads reports whether this one leads.
func (e *Elector) Leads() bool { return e.leads.Load() }

// Leader is who leads, as far as it is known, or "".
func (e *Elector) Leader() string {
	if s := e.leader.Load(); s != nil {
		return *s
	}
	return ""
}

// Run stands for election until ctx ends, and calls work whenever it wins. work's
// context ends before the lease can be another's; the lease is given up only
// when work has returned.
func (e *Elector) Run(ctx context.Context, work func(context.Context)) error {
	for ctx.Err() == nil {
		if err := e.term(ctx, work); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// term stands until it has won and lost, or ctx ends.
func (e *Elector) term(ctx context.Context, work func(context.Context)) error {
	// The election outlives ctx until the work has ended.
	election, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	l := &lock{Interface: e.lock(), now: time.Now, told: e.told}
	ended := make(chan struct{})
	el, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: l, LeaseDuration: e.times.Duration, RenewDeadline: e.times.Renew, RetryPeriod: e.times.Retry,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(leading context.Context) {
				defer close(ended)
				defer stop()
				defer l.done()
				e.work(ctx, leading, l, work)
			},
			OnStoppedLeading: func() {},
			OnNewLeader:      func(id string) { e.leader.Store(&id) },
		},
	})
	if err != nil {
		return fmt.Errorf("prepare the election: %w", err)
	}
	var looking sync.WaitGroup
	looking.Go(func() {
		if e.free(election, l) {
			stop() // the next term asks for it at once
		}
	})
	defer looking.Wait()
	defer stop()
	release := context.AfterFunc(ctx, func() {
		if !l.hasWon() {
			stop()
		}
	})
	defer release()
	el.Run(election)
	if l.hasWon() {
		<-ended
	}
	return nil
}

// looksPerRetry is how often a standby looks whether the lease was given up, within
// the time after which client-go's elector does: it waits up to 2.2 times that.
const looksPerRetry = 4

// free returns true when the lease was given up while this one stands by, false when
// the election is over or won.
func (e *Elector) free(ctx context.Context, l *lock) bool {
	own := e.lock() // a lock keeps what it read for its next write
	tick := time.NewTicker(e.times.Retry / looksPerRetry)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		if l.hasWon() {
			return false
		}
		r, _, err := own.Get(ctx)
		if ctx.Err() != nil {
			return false
		}
		e.told("get", err)
		if err == nil && r.HolderIdentity == "" {
			return true
		}
	}
}

// work runs until ctx ends, the elector says that the lease is lost, or the
// lease was not renewed in time. The elector alone says it too late: it first
// tries to give the lease up, for as long as the API server does not answer.
func (e *Elector) work(ctx, leading context.Context, l *lock, work func(context.Context)) {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(leading, cancel)()
	guarded := make(chan struct{})
	go func() {
		defer close(guarded)
		for left := l.left(e.times.Renew); left > 0; left = l.left(e.times.Renew) {
			t := time.NewTimer(left)
			select {
			case <-t.C:
			case <-inner.Done():
				t.Stop()
				return
			}
		}
		e.log.Warn("the lease was not renewed in time, work stops")
		cancel()
	}()
	e.log.Info("leading", zap.String("identity", e.identity))
	e.leads.Store(true)
	work(inner)
	e.leads.Store(false)
	cancel()
	<-guarded
	e.log.Info("not leading any more", zap.String("identity", e.identity))
}
