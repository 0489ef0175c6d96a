package activity_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/router/internal/activity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// store keeps what it is told, and fails while told to.
type store struct {
	mu   sync.Mutex
	fail bool
	puts []contract.Activity
	keys map[string]int
}

func (s *store) Put(_ context.Context, key string, a contract.Activity) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail {
		return errors.New("away")
	}
	s.puts = append(s.puts, a)
	s.keys[key]++
	return nil
}

func (s *store) setFail(fail bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

func (s *store) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.puts)
}

func (s *store) last() contract.Activity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.puts[len(s.puts)-1]
}

func view(i int) *sandbox.View {
	session := fmt.Sprint("s", i)
	return &sandbox.View{Tenant: "default", Record: sandbox.RecordName("default", session), RuntimeID: fmt.Sprint("r", i)}
}

func always(string) bool { return true }

// report runs a reporter in a bubble of its own; its last round is over when
// the returned function returns.
func report(t *testing.T, tr *activity.Tracker, s *store, known func(string) bool, log *zap.Logger) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := activity.NewReporter(tr, s, known, log).Run(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}()
	return func() { cancel(); <-done }
}

func TestReports(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr, s := activity.NewTracker(), &store{keys: map[string]int{}}
		stop := report(t, tr, s, always, zap.NewNop())
		x := tr.Begin(view(1))
		began := time.Now().UTC()
		time.Sleep(1500 * time.Millisecond)
		if s.count() != 1 || s.last() != (contract.Activity{RuntimeID: "r1", Last: began}) {
			t.Fatalf("not told soon: %+v", s.puts)
		}
		// A stream: bytes all the time, told every 10 s at most.
		for range 600 {
			time.Sleep(100 * time.Millisecond)
			x.Touch()
		}
		if n := s.count(); n < 6 || n > 7 {
			t.Errorf("%d reports in 60 s", n)
		}
		if age := time.Since(s.last().Last); age > activity.ReportEvery+2*time.Second {
			t.Errorf("the last is %s old", age)
		}
		// Open, and silent: no activity.
		time.Sleep(time.Minute)
		n := s.count()
		time.Sleep(time.Minute)
		if s.count() != n {
			t.Error("silence was told")
		}
		ended := time.Now().UTC()
		x.End()
		stop() // tells what is new, at once
		if s.last().Last != ended {
			t.Errorf("%s, want %s", s.last().Last, ended)
		}
	})
}

func TestFailuresAreTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		tr, s := activity.NewTracker(), &store{keys: map[string]int{}, fail: true}
		stop := report(t, tr, s, always, zap.New(core))
		for i := range 20 {
			tr.Begin(view(i)).End()
		}
		time.Sleep(time.Minute)
		if logs.Len() != 1 {
			t.Errorf("%d lines for one trouble", logs.Len())
		}
		s.setFail(false)
		time.Sleep(2 * time.Second)
		stop()
		if len(s.keys) != 20 || logs.Len() != 2 {
			t.Errorf("%d sandboxes, %d lines", len(s.keys), logs.Len())
		}
	})
}

func TestSandboxesThatAreGoneAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr, s := activity.NewTracker(), &store{keys: map[string]int{}}
		stop := report(t, tr, s, func(id string) bool { return id == "r1" }, zap.NewNop())
		defer stop()
		tr.Begin(view(1)).End()
		tr.Begin(view(2)).End()
		open := tr.Begin(view(3))
		time.Sleep(5 * time.Second)
		if tr.Len() != 2 || s.count() != 1 {
			t.Errorf("%d are kept, %d told", tr.Len(), s.count())
		}
		open.End()
		time.Sleep(5 * time.Second)
		if tr.Len() != 1 {
			t.Errorf("%d are kept", tr.Len())
		}
	})
}

func TestConcurrentExchanges(t *testing.T) {
	t.Parallel()
	tr, s := activity.NewTracker(), &store{keys: map[string]int{}}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 200 {
				x := tr.Begin(view(i % 3))
				x.Touch()
				x.End()
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	wg.Go(func() { _ = activity.NewReporter(tr, s, always, zap.NewNop()).Run(ctx) })
	cancel()
	wg.Wait()
	if tr.Len() != 3 {
		t.Error(tr.Len())
	}
}

func BenchmarkTouch(b *testing.B) {
	x := activity.NewTracker().Begin(view(1))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			x.Touch()
		}
	})
}
