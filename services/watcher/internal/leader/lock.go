package leader

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/sandbar-io/sandbar/pkg/failpoint"
)

var errBusy = errors.New("the lease is not given up while its holder still works")

// lock watches what client-go's elector does with the lease. It knows since when
// the lease is ours, and refuses to give it up while the work goes on: the
// elector would, when it ends, before it tells us.
type lock struct {
	resourcelock.Interface
	now  func() time.Time
	told func(verb string, err error) // of how each request went

	mu      sync.Mutex
	renewed time.Time // when the request was begun that last renewed it
	working bool
	won     bool
}

// Get reads the lease.
func (l *lock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	r, raw, err := l.Interface.Get(ctx)
	l.told("get", err)
	return r, raw, err
}

func (l *lock) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	at := l.now()
	err := failpoint.After(ctx, "watcher/after-lease", l.Interface.Create(ctx, r))
	l.told("create", err)
	l.note(at, err)
	return err
}

func (l *lock) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	if r.HolderIdentity == "" && l.busy() {
		return errBusy
	}
	at := l.now()
	err := failpoint.After(ctx, "watcher/after-lease", l.Interface.Update(ctx, r))
	l.told("update", err)
	l.note(at, err)
	return err
}

func (l *lock) note(at time.Time, err error) {
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renewed = at
}

// RecordEvent is how the elector tells, in its own goroutine, that it has won.
func (l *lock) RecordEvent(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if what == "became leader" {
		l.won, l.working = true, true
	}
}

func (l *lock) done() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.working = false
}

func (l *lock) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.working
}

func (l *lock) hasWon() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.won
}

// left is how long the work may go on unless the lease is renewed.
func (l *lock) left(deadline time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.renewed.Add(deadline).Sub(l.now())
}
