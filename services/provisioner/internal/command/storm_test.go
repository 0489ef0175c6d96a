package command_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/command"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/quota"
)

// Six sessions, two keys of two places each, three provisioners whose calls fail
// or lose their answers, commands that are delivered twice, also at the same
// time, and a watcher's pauses: at no moment does a key run more than it may, and
// what runs is counted. When all is over, what was left of those that died goes
// as soon as somebody needs it.
func TestNoStormRunsTooMany(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			s := newStorm(t, seed)
			var all sync.WaitGroup
			for i := range s.runners {
				r := rand.New(rand.NewPCG(seed, uint64(i)))
				all.Go(func() {
					for range 60 {
						s.one(r, s.runners[i])
					}
				})
			}
			all.Wait()
			s.calm()
		})
	}
}

const stormSessions, stormRoom = 6, 2

type storm struct {
	*bench
	runners []*command.Runner

	mu    sync.Mutex
	seq   uint64
	rnd   *rand.Rand
	wrong []string
}

func newStorm(t *testing.T, seed uint64) *storm {
	s := &storm{bench: newBench(t), rnd: rand.New(rand.NewPCG(seed, 99))}
	for range 3 {
		s.runners = append(s.runners, s.another())
	}
	s.watch = s.look
	for _, kind := range []string{getRecord, createRecord, updateRecord, getLedger, swapLedger, createPod, putView} {
		s.before[kind] = func(int) error { return s.fault(40) }
		s.after[kind] = func(int) error { return s.fault(40) }
	}
	return s
}

// fault is one in n.
func (s *storm) fault(n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rnd.IntN(n) == 0 {
		return errDown
	}
	return nil
}

// look runs under the fake's lock.
func (s *storm) look() {
	running := map[string]int{}
	for _, r := range s.records {
		if r.Desired != sandbox.Running || r.Holder == "" {
			continue
		}
		running[r.Holder]++
		var l quota.Ledger
		_ = json.Unmarshal(s.ledgers[sandbox.LedgerName(tenant, r.Holder)], &l)
		if _, ok := l.Places[r.Name][r.Place]; !ok {
			s.wrong = append(s.wrong, fmt.Sprintf("%s runs under %s and is not counted: %+v", r.SessionID, r.Place, l.Places))
		}
	}
	for key, n := range running {
		if n > stormRoom {
			s.wrong = append(s.wrong, fmt.Sprintf("%s runs %d", key, n))
		}
	}
}

// one sends a command, and the same again as often as it fails.
func (s *storm) one(r *rand.Rand, runner *command.Runner) {
	c := s.command(r)
	s.mu.Lock()
	s.seq++
	seq := s.seq
	s.mu.Unlock()
	deliver := func() bool {
		_, err := runner.Run(s.t.Context(), c, seq)
		if err != nil && !errors.Is(err, errDown) {
			s.t.Errorf("%s of %s: %v", c.Verb, c.SessionID, err)
		}
		return err == nil
	}
	var silent sync.WaitGroup
	if r.IntN(5) == 0 { // its worker is taken for dead, and works on
		silent.Go(func() { deliver() })
	}
	for range 5 {
		if deliver() {
			break
		}
	}
	silent.Wait()
}

func (s *storm) command(r *rand.Rand) sandbox.Command {
	session := fmt.Sprint("s", r.IntN(stormSessions))
	c := sandbox.Command{
		ID: sandbox.NewKey(), Verb: sandbox.Start, Tenant: tenant, SessionID: session, Deadline: s.now().Add(10 * time.Second),
		Spec:   spec("image-1"),
		Limits: &sandbox.Limits{Key: fmt.Sprint("key", r.IntN(2)), Sandboxes: stormRoom},
	}
	s.fake.mu.Lock()
	live := s.records[sandbox.RecordName(tenant, session)].Clone()
	s.fake.mu.Unlock()
	if live == nil || r.IntN(2) == 0 {
		return c
	}
	c.RuntimeID = live.RuntimeID
	c.Verb = []sandbox.Verb{sandbox.Resume, sandbox.Pause, sandbox.Pause, sandbox.Stop}[r.IntN(4)]
	if c.Verb != sandbox.Resume {
		c.Spec, c.Limits = nil, nil
	}
	if c.Verb == sandbox.Pause && r.IntN(2) == 0 {
		c.Generation, c.RecordUID, c.Reason = live.Generation, live.UID, "idle"
	}
	return c
}

// calm checks what was seen, and that each key can then run exactly what it may.
func (s *storm) calm() {
	s.forget()
	for _, w := range s.wrong {
		s.t.Error(w)
	}
	s.bench.seq = s.seq
	s.pass(2 * time.Minute)
	for i := range 2 {
		key := fmt.Sprint("key", i)
		running := 0
		for _, r := range s.records {
			if r.Desired == sandbox.Running && r.Holder == key {
				running++
			}
		}
		for n := range stormRoom - running {
			s.allowed(sandbox.Start, fmt.Sprint("calm", i, n), &sandbox.Limits{Key: key, Sandboxes: stormRoom})
		}
		s.full(sandbox.Start, fmt.Sprint("calm", i), &sandbox.Limits{Key: key, Sandboxes: stormRoom})
	}
}
