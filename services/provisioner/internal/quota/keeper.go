package quota

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sandbar-io/sandbar/pkg/failpoint"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// ErrMoved is a ledger that is not any more what it was read as.
var ErrMoved = errors.New("the ledger moved")

// Store holds ledgers, and the records that they are about.
type Store interface {
	// Ledger reads a ledger live, nil if there is none.
	Ledger(ctx context.Context, tenant, key string) (*Ledger, error)
	// SwapLedger writes a ledger over the version that it was read as, or makes
	// it. ErrMoved if there is another.
	SwapLedger(ctx context.Context, l *Ledger) error
	Record(ctx context.Context, name string) (*sandbox.Record, error)
}

const (
	// moveWait is the longest pause before a ledger that moved is read again, in
	// the middle of what one swap takes on a busy API server.
	moveWait = 40 * time.Millisecond
	// maxNoted bounds what is noted without a limit: a Secret holds 1 MiB.
	maxNoted = 2 * sandbox.MaxHeld
	// lookers bounds the records that are read at once.
	lookers = 8
)

// Keeper changes ledgers. Its methods may be called concurrently.
type Keeper struct {
	store Store
	omit  sandbox.Omit

	// turns let one worker of this process at a time at a ledger: they would only
	// make each other's swaps fail. As many as there are keys with limits.
	turns sync.Map // name of the ledger → chan struct{}
}

// NewKeeper returns a keeper. omit is 0 but in the interleaving test.
func NewKeeper(store Store, omit sandbox.Omit) *Keeper { return &Keeper{store: store, omit: omit} }

// Take takes a place, before a record is written that needs it. A refusal is a
// *sandbox.Error; any other error says nothing.
func (k *Keeper) Take(ctx context.Context, tenant string, limits sandbox.Limits, t Ticket, now time.Time) error {
	err := k.change(ctx, tenant, limits.Key, func(l *Ledger) (bool, error) {
		err := l.take(t, limits, now)
		if !errors.Is(err, errFull) {
			return err == nil, err
		}
		doubts := l.doubtful(t.Record, now)
		for record, running := range k.look(ctx, l, doubts) {
			l.settle(record, running, now)
		}
		return len(doubts) > 0, l.take(t, limits, now)
	})
	return failpoint.After(ctx, "provisioner/after-take", err)
}

// Note notes the place of what runs already: of one that was started before its
// key had limits, or whose ledger was lost. It is never refused.
func (k *Keeper) Note(ctx context.Context, tenant, key string, t Ticket, now time.Time) error {
	err := k.change(ctx, tenant, key, func(l *Ledger) (bool, error) {
		if l.has(t.Record, t.Place) || len(l.Places) >= maxNoted {
			return false, nil
		}
		l.note(t, now)
		return true, nil
	})
	return failpoint.After(ctx, "provisioner/after-note", err)
}

// Release gives the place of a record back that does not run under it any more.
// It may be called for the same again, and late.
func (k *Keeper) Release(ctx context.Context, r *sandbox.Record) error {
	err := k.change(ctx, r.Tenant, r.Holder, func(l *Ledger) (bool, error) {
		if k.omit.Has(sandbox.OmitPlaceName) {
			had := l.Places[r.Name] != nil
			delete(l.Places, r.Name)
			return had, nil
		}
		return l.drop(r.Name, r.Place, r.Fence), nil
	})
	return failpoint.After(ctx, "provisioner/after-release", err)
}

// Undo takes back what was taken for a write that did not happen.
func (k *Keeper) Undo(ctx context.Context, tenant, key string, t Ticket) error {
	err := k.change(ctx, tenant, key, func(l *Ledger) (bool, error) { return l.undo(t), nil })
	return failpoint.After(ctx, "provisioner/after-undo", err)
}

// change reads a ledger, lets f change it and swaps it if f says that it did, as
// long as the attempt lasts. f's error is returned after that, and f is called
// again where the ledger moved.
func (k *Keeper) change(ctx context.Context, tenant, key string, f func(*Ledger) (bool, error)) error {
	done, err := k.turn(ctx, sandbox.LedgerName(tenant, key))
	if err != nil {
		return err
	}
	defer done()
	for {
		l, err := k.store.Ledger(ctx, tenant, key)
		if err != nil {
			return err
		}
		if l == nil {
			l = &Ledger{Tenant: tenant, Key: key, Places: map[string]map[string]Place{}}
		}
		changed, err := f(l)
		if !changed {
			return err
		}
		swap := k.store.SwapLedger(ctx, l)
		if swap == nil {
			return err
		}
		if !errors.Is(swap, ErrMoved) {
			return swap
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// pause waits a random time, so that two provisioners do not meet again.
func pause(ctx context.Context) error {
	t := time.NewTimer(rand.N(moveWait))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// turn waits for its turn at a ledger.
func (k *Keeper) turn(ctx context.Context, name string) (done func(), err error) {
	one, _ := k.turns.LoadOrStore(name, make(chan struct{}, 1))
	c := one.(chan struct{})
	select {
	case c <- struct{}{}:
		return func() { <-c }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// look reads records live: the place under which each runs for this key, "" for
// none. What cannot be read is not in the answer, and stays counted.
func (k *Keeper) look(ctx context.Context, l *Ledger, records []string) map[string]string {
	var mu sync.Mutex
	found := map[string]string{}
	var g errgroup.Group
	g.SetLimit(lookers)
	for _, record := range records {
		g.Go(func() error {
			r, err := k.store.Record(ctx, record)
			if err != nil {
				return nil
			}
			place := ""
			if r != nil && r.Desired == sandbox.Running && r.Tenant == l.Tenant && r.Holder == l.Key {
				place = r.Place
			}
			mu.Lock()
			defer mu.Unlock()
			found[record] = place
			return nil
		})
	}
	_ = g.Wait() // none returns one
	return found
}
