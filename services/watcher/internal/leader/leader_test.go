package leader_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/sandbar-io/sandbar/services/watcher/internal/leader"
	"github.com/sandbar-io/sandbar/services/watcher/internal/testbed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var times = leader.Times{Duration: time.Second, Renew: 600 * time.Millisecond, Retry: 50 * time.Millisecond}

// lease is an API server that holds one Lease.
type lease struct {
	mu      sync.Mutex
	version int
	record  *resourcelock.LeaderElectionRecord
	away    bool // requests hang until their context ends
}

func (l *lease) holder() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.record == nil {
		return ""
	}
	return l.record.HolderIdentity
}

func (l *lease) setAway(away bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away = away
}

// lock is one candidate's access to it.
type lock struct {
	*lease
	id      string
	version int
}

func (l *lock) reach(ctx context.Context) error {
	l.mu.Lock()
	away := l.away
	l.mu.Unlock()
	if away {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (l *lock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	if err := l.reach(ctx); err != nil {
		return nil, nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.record == nil {
		return nil, nil, apierrors.NewNotFound(schema.GroupResource{Resource: "leases"}, "l")
	}
	l.version = l.lease.version
	r := *l.record
	raw, err := json.Marshal(r)
	return &r, bytes.Clone(raw), err
}

func (l *lock) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.write(ctx, r, func() bool { return l.record == nil })
}

func (l *lock) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.write(ctx, r, func() bool { return l.version == l.lease.version })
}

func (l *lock) write(ctx context.Context, r resourcelock.LeaderElectionRecord, fits func() bool) error {
	if err := l.reach(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !fits() {
		return errors.New("conflict")
	}
	l.lease.version++
	l.version, l.record = l.lease.version, &r
	return nil
}

func (l *lock) RecordEvent(string) {}
func (l *lock) Identity() string   { return l.id }
func (l *lock) Describe() string   { return "test" }

// candidate runs an elector; its work runs until its context ends and then for
// as long as linger says.
type candidate struct {
	e      *leader.Elector
	cancel context.CancelFunc
	wg     sync.WaitGroup
	began  atomic.Int64
	ends   chan time.Time
	linger func()
}

func stand(t *testing.T, l *lease, id string, working *atomic.Int64) *candidate {
	t.Helper()
	return standWith(t, l, id, times, working)
}

func standWith(t *testing.T, l *lease, id string, times leader.Times, working *atomic.Int64) *candidate {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := &candidate{cancel: cancel, ends: make(chan time.Time, 16), linger: func() {}}
	c.e = leader.NewWithLock(func() resourcelock.Interface { return &lock{lease: l, id: id} }, id, times, func(string, error) {}, zap.NewNop())
	c.wg.Go(func() {
		err := c.e.Run(ctx, func(ctx context.Context) {
			if working.Add(1) > 1 {
				t.Error("two work at once")
			}
			c.began.Add(1)
			<-ctx.Done()
			c.ends <- time.Now()
			c.linger()
			working.Add(-1)
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s ended with %v", id, err)
		}
	})
	t.Cleanup(c.stop)
	return c
}

func (c *candidate) stop() { c.cancel(); c.wg.Wait() }

func TestALeaderThatEndsGivesTheLeaseUp(t *testing.T) {
	t.Parallel()
	var working atomic.Int64
	l := &lease{}
	one := stand(t, l, "one", &working)
	testbed.Eventually(t, "one leads", one.e.Leads)
	two := stand(t, l, "two", &working)
	testbed.Eventually(t, "two knows", func() bool { return two.e.Leader() == "one" })
	lingering := make(chan struct{})
	one.linger = func() {
		if h := l.holder(); h != "one" {
			t.Errorf("%q holds the lease while one still works", h)
		}
		<-lingering
		if h := l.holder(); h != "one" {
			t.Errorf("%q holds the lease while one still works", h)
		}
	}
	one.cancel()
	<-one.ends
	close(lingering)
	one.wg.Wait()
	if h := l.holder(); h == "one" {
		t.Error("the lease is kept by one that has ended")
	}
	testbed.Eventually(t, "two leads", two.e.Leads)
}

// client-go's elector would look after one to 2.2 retry periods.
func TestALeaseThatIsGivenUpIsTakenSoon(t *testing.T) {
	t.Parallel()
	rare := leader.Times{Duration: time.Minute, Renew: 40 * time.Second, Retry: 8 * time.Second}
	var working atomic.Int64
	l := &lease{}
	one := standWith(t, l, "one", rare, &working)
	testbed.Eventually(t, "one leads", one.e.Leads)
	two := standWith(t, l, "two", rare, &working)
	testbed.Eventually(t, "two knows", func() bool { return two.e.Leader() == "one" })
	one.stop()
	released := time.Now()
	testbed.Eventually(t, "two leads", two.e.Leads)
	if took := time.Since(released); took > rare.Retry {
		t.Errorf("it took %s", took)
	}
}

func TestWorkStopsBeforeTheLeaseEnds(t *testing.T) {
	t.Parallel()
	var working atomic.Int64
	l := &lease{}
	c := stand(t, l, "one", &working)
	testbed.Eventually(t, "it leads", c.e.Leads)
	l.setAway(true)
	away := time.Now()
	if ran := (<-c.ends).Sub(away); ran > times.Duration {
		t.Errorf("worked on for %v without a renewal, the lease lasts %v", ran, times.Duration)
	}
	l.setAway(false)
	testbed.Eventually(t, "it leads again", func() bool { return c.began.Load() == 2 })
}

func TestACandidateThatNeverLeadsEndsAtOnce(t *testing.T) {
	t.Parallel()
	var working atomic.Int64
	l := &lease{}
	one := stand(t, l, "one", &working)
	testbed.Eventually(t, "one leads", one.e.Leads)
	two := stand(t, l, "two", &working)
	testbed.Eventually(t, "two knows", func() bool { return two.e.Leader() == "one" })
	two.stop()
	if l.holder() != "one" {
		t.Error("a standby that ended took the lease away")
	}
}
