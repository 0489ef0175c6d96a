package command_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/cluster"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/command"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/quota"
)

// two lets a key run two sandboxes.
var two = &sandbox.Limits{Key: "team", Sandboxes: 2}

// ledger is the ledger of a key as it stands.
func (b *bench) ledger(key string) *quota.Ledger {
	b.t.Helper()
	b.fake.mu.Lock()
	defer b.fake.mu.Unlock()
	l := &quota.Ledger{}
	if body := b.ledgers[sandbox.LedgerName(tenant, key)]; body != nil {
		if err := json.Unmarshal(body, l); err != nil {
			b.t.Fatal(err)
		}
	}
	return l
}

// counted checks that whatever runs has its place.
func (b *bench) counted(when string) {
	b.t.Helper()
	b.fake.mu.Lock()
	records := make([]*sandbox.Record, 0, len(b.records))
	for _, r := range b.records {
		records = append(records, r.Clone())
	}
	b.fake.mu.Unlock()
	for _, r := range records {
		if r.Desired != sandbox.Running || r.Holder == "" {
			continue
		}
		if _, ok := b.ledger(r.Holder).Places[r.Name][r.Place]; !ok {
			b.t.Errorf("%s: %s runs and is not counted:\n%s", when, r.SessionID, strings.Join(b.calls, "\n"))
		}
	}
}

// holds checks which sessions a key is charged for.
func (b *bench) holds(key string, sessions ...string) {
	b.t.Helper()
	var got, want []string
	for record := range b.ledger(key).Places {
		got = append(got, record)
	}
	for _, s := range sessions {
		want = append(want, sandbox.RecordName(tenant, s))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		b.t.Errorf("%s holds %q, want %q\n%s", key, got, want, strings.Join(b.calls, "\n"))
	}
}

// of sends a command of a session by a key; its code and text are returned.
func (b *bench) of(verb sandbox.Verb, session string, l *sandbox.Limits) (sandbox.Code, string) {
	b.t.Helper()
	c, seq := b.command(verb)
	c.SessionID = session
	if verb == sandbox.Start || verb == sandbox.Resume {
		c.Limits = l
	}
	if verb != sandbox.Start {
		b.fake.mu.Lock()
		c.RuntimeID = b.records[sandbox.RecordName(tenant, session)].RuntimeID
		b.fake.mu.Unlock()
	}
	out, err := b.Run(b.t.Context(), c, seq)
	if err != nil {
		b.t.Fatalf("%s of %s: %v", verb, session, err)
	}
	b.counted(fmt.Sprint(verb, " of ", session))
	if out.Err == nil {
		return "", ""
	}
	return sandbox.CodeOf(out.Err), sandbox.MessageOf(out.Err)
}

func (b *bench) allowed(verb sandbox.Verb, session string, l *sandbox.Limits) {
	b.t.Helper()
	if code, text := b.of(verb, session, l); code != "" {
		b.t.Fatalf("%s of %s: %s %s", verb, session, code, text)
	}
}

const fullOf2 = "Active runtime capacity (2) is exhausted for this key; pause or stop a running sandbox before retrying"

func (b *bench) full(verb sandbox.Verb, session string, l *sandbox.Limits) {
	b.t.Helper()
	if code, text := b.of(verb, session, l); code != sandbox.CodeQuota || text != fullOf2 {
		b.t.Errorf("%s of %s: %q %q", verb, session, code, text)
	}
}

// Without limits nothing is asked of any ledger, in any situation.
func TestWithoutLimitsNoLedgerIsTouched(t *testing.T) {
	t.Parallel()
	for _, from := range []situation{none, running, failed, paused, stopped} {
		for _, verb := range []sandbox.Verb{sandbox.Start, sandbox.Resume, sandbox.Pause, sandbox.Stop} {
			if from == none && verb != sandbox.Start {
				continue
			}
			b := inSituation(t, from)
			c, seq := b.command(verb)
			if _, err := b.Run(t.Context(), c, seq); err != nil {
				t.Errorf("%s when %s: %v", verb, from, err)
			}
			if n := b.count[getLedger] + b.count[swapLedger]; n != 0 {
				t.Errorf("%s when %s: %d calls about ledgers", verb, from, n)
			}
		}
	}
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.allowed(sandbox.Start, "a", two)
	b.allowed(sandbox.Start, "b", two)
	b.full(sandbox.Start, "c", two)
	if b.records[sandbox.RecordName(tenant, "c")] != nil || len(b.pods) != 2 || len(b.objects) != 4 {
		t.Errorf("a refused start left %d records, %d pods, %d objects", len(b.records), len(b.pods), len(b.objects))
	}
	b.allowed(sandbox.Start, "a", two) // it runs: nothing is asked
	b.allowed(sandbox.Resume, "b", two)
	b.holds("team", "a", "b")
	b.allowed(sandbox.Pause, "a", nil)
	b.holds("team", "b")
	b.allowed(sandbox.Start, "c", two)
	b.full(sandbox.Resume, "a", two)
	if r := b.records[sandbox.RecordName(tenant, "a")]; r.Desired != sandbox.Paused {
		t.Errorf("a resume that was refused made it %s", r.Desired)
	}
	b.allowed(sandbox.Stop, "b", nil)
	b.allowed(sandbox.Resume, "a", two)
	b.allowed(sandbox.Stop, "a", nil)
	b.allowed(sandbox.Stop, "a", nil)
	b.allowed(sandbox.Stop, "c", nil)
	b.holds("team")
}

// A sandbox is charged to the key by which it was last made to run.
func TestHolders(t *testing.T) {
	t.Parallel()
	one, other := &sandbox.Limits{Key: "one", Sandboxes: 1}, &sandbox.Limits{Key: "other", Sandboxes: 1}
	b := newBench(t)
	b.allowed(sandbox.Start, "a", one)
	b.allowed(sandbox.Start, "a", other) // it runs already
	b.holds("one", "a")
	b.holds("other")
	b.allowed(sandbox.Pause, "a", nil)
	b.allowed(sandbox.Resume, "a", other)
	b.holds("one")
	b.holds("other", "a")
	for _, p := range b.pods {
		p.Phase, p.Reason = "Failed", "Evicted"
	}
	b.allowed(sandbox.Resume, "a", one) // the failed one is made anew
	b.holds("one", "a")
	b.holds("other")
	for _, p := range b.pods {
		p.Phase, p.Reason = "Failed", "Evicted"
	}
	b.allowed(sandbox.Start, "a", nil) // by a key without limits
	b.holds("one")
	b.allowed(sandbox.Start, "a", one) // what runs uncharged is, from now on
	b.holds("one", "a")
	b.allowed(sandbox.Start, "b", nil)
	b.allowed(sandbox.Start, "b", one) // never refused, though one is full
	b.holds("one", "a", "b")
}

// What failed keeps its place when it is made anew, whatever became of the limits.
func TestAFailedOneKeepsItsPlace(t *testing.T) {
	t.Parallel()
	for _, verb := range []sandbox.Verb{sandbox.Start, sandbox.Resume} {
		b := newBench(t)
		b.allowed(sandbox.Start, session, two)
		b.allowed(sandbox.Start, "b", two)
		for _, p := range b.pods {
			p.Phase, p.Reason = "Failed", "Evicted"
		}
		b.allowed(verb, session, &sandbox.Limits{Key: "team", Sandboxes: 1})
		b.holds("team", session, "b")
		if n := len(b.ledger("team").Places[recordName]); n != 1 {
			t.Errorf("%s: %d places of one sandbox", verb, n)
		}
	}
}

// What Kubernetes refuses for good leaves no place.
func TestRollBackGivesThePlaceBack(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{createPod, createRecord} {
		b := newBench(t)
		b.before[kind] = always(noRoom)
		if code, text := b.of(sandbox.Start, session, two); code != sandbox.CodeQuota || text != noRoom.Message {
			t.Errorf("%s: %s %s", kind, code, text)
		}
		b.holds("team")
		if n := len(b.ledger("team").Starts); n != 0 {
			t.Errorf("%s: %d starts are counted", kind, n)
		}
	}
}

// A start whose deadline passes while it takes its place gives it back.
func TestTooLateGivesThePlaceBack(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.after[swapLedger] = func(n int) error {
		if n == 1 {
			b.pass(time.Minute)
		}
		return nil
	}
	if code, _ := b.of(sandbox.Start, session, &sandbox.Limits{Key: "team", Sandboxes: 2, StartsPerMinute: 5}); code != sandbox.CodeExpired {
		t.Errorf("%s", code)
	}
	b.holds("team")
	if n := len(b.ledger("team").Starts); n != 0 || len(b.records) != 0 {
		t.Errorf("%d starts, %d records", n, len(b.records))
	}
}

// Each call of each verb fails once, with its answer lost or undone: what runs is
// counted at any time, and when the command was done the ledger holds what runs.
func TestOneFaultAnywhereOfAHeldOne(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		from situation
		verb sandbox.Verb
	}{
		{none, sandbox.Start},
		{running, sandbox.Start},
		{failed, sandbox.Start},
		{paused, sandbox.Start},
		{stopped, sandbox.Start},
		{paused, sandbox.Resume},
		{failed, sandbox.Resume},
		{running, sandbox.Pause},
		{paused, sandbox.Pause},
		{running, sandbox.Stop},
	} {
		whole := inSituationOf(t, tt.from, two)
		whole.do(tt.verb)
		for kind, calls := range whole.count {
			if kind == check {
				continue
			}
			for n := 1; n <= calls; n++ {
				for _, lost := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s when %s, %s %d, answer lost %v", tt.verb, tt.from, kind, n, lost), func(t *testing.T) {
						t.Parallel()
						b := inSituationOf(t, tt.from, two)
						at := func(i int) error {
							if i == n {
								return errDown
							}
							return nil
						}
						if lost {
							b.after[kind] = at
						} else {
							b.before[kind] = at
						}
						c, seq := b.command(tt.verb)
						_, err := b.Run(t.Context(), c, seq)
						if !errors.Is(err, errDown) {
							t.Fatalf("%v", err)
						}
						b.counted("after the fault")
						b.forget()
						if out, err := b.Run(t.Context(), c, seq); err != nil || out.Err != nil {
							t.Fatalf("the second time: %v, %v", err, out.Err)
						}
						b.counted("in the end")
						if b.record().Desired == sandbox.Running {
							b.holds("team", session)
						} else {
							b.holds("team")
						}
					})
				}
			}
		}
	}
}

// A watcher's pause gives back too; the same, delivered again, does what the
// first had not done, and never takes a later place away.
func TestBoundCommandsGiveThePlaceBack(t *testing.T) {
	t.Parallel()
	for _, verb := range []sandbox.Verb{sandbox.Pause, sandbox.Stop} {
		b := inSituationOf(t, running, two)
		c := b.bound(verb)
		b.before[swapLedger] = always(errDown)
		if _, err := b.Run(t.Context(), c, 500); !errors.Is(err, errDown) {
			t.Fatalf("%v", err)
		}
		b.holds("team", session)
		b.forget()
		if _, err := b.Run(t.Context(), c, 500); err != nil {
			t.Fatal(err)
		}
		b.holds("team")
		b.do(sandbox.Start)
		b.holds("team", session)
		if _, err := b.Run(t.Context(), c, 500); err != nil {
			t.Fatal(err)
		}
		b.holds("team", session)
		b.counted("after a late " + string(verb))
	}
}

// A purge gives back what a stop could not, once the pod is gone that it deletes
// itself: the watcher asks again until then.
func TestPurgeGivesThePlaceBack(t *testing.T) {
	t.Parallel()
	b := inSituationOf(t, running, two)
	c, seq := b.command(sandbox.Stop)
	b.before[getLedger] = always(errDown)
	if _, err := b.Run(t.Context(), c, seq); !errors.Is(err, errDown) {
		t.Fatalf("%v", err)
	}
	b.holds("team", session)
	b.forget()
	for range 2 {
		if _, err := b.Run(t.Context(), b.bound(sandbox.Purge), 500); err != nil {
			t.Fatal(err)
		}
	}
	b.is("no record, 0 pods, 0 objects")
	b.holds("team")
}

// Many starts of one session at once hold one place, and its stop gives it back,
// whatever the losers of the race took.
func TestStartsOfOneSessionHoldOnePlace(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.limits = two
	var wg sync.WaitGroup
	for range 20 {
		c, seq := b.command(sandbox.Start)
		wg.Go(func() {
			if out, err := b.Run(t.Context(), c, seq); err != nil || out.Err != nil {
				t.Errorf("%v, %v", err, out.Err)
			}
		})
	}
	wg.Wait()
	b.counted("in the end")
	b.holds("team", session)
	if n := len(b.ledger("team").Places[recordName]); n != 1 {
		t.Errorf("%d places are left of 20 starts", n)
	}
	b.do(sandbox.Stop)
	b.holds("team")
}

// Fifty sessions at once by three provisioners: exactly as many as there is room
// for.
func TestTenOfFifty(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ten := &sandbox.Limits{Key: "team", Sandboxes: 10}
	runners := make([]*command.Runner, 3)
	for i := range runners {
		runners[i] = b.another()
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	codes := map[sandbox.Code]int{}
	for i := range 50 {
		c, seq := b.command(sandbox.Start)
		c.SessionID, c.Limits = fmt.Sprint("s", i), ten
		wg.Go(func() {
			out, err := runners[i%3].Run(t.Context(), c, seq)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			codes[sandbox.CodeOf(out.Err)]++
		})
	}
	wg.Wait()
	if codes[""] != 10 || codes[sandbox.CodeQuota] != 40 || len(b.records) != 10 || len(b.ledger("team").Places) != 10 {
		t.Errorf("%v, %d records, %d places", codes, len(b.records), len(b.ledger("team").Places))
	}
}

// A provisioner that died between taking and writing costs a minute, no longer.
func TestADeathBetweenTakeAndWriteHeals(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	one := &sandbox.Limits{Key: "team", Sandboxes: 1}
	b.before[createRecord] = always(errDown)
	c, seq := b.command(sandbox.Start)
	c.Limits = one
	if _, err := b.Run(t.Context(), c, seq); !errors.Is(err, errDown) {
		t.Fatalf("%v", err)
	}
	b.forget()
	if code, _ := b.of(sandbox.Start, "other", one); code != sandbox.CodeQuota {
		t.Errorf("it was freed while its attempt may still write: %q", code)
	}
	b.pass(time.Minute)
	b.allowed(sandbox.Start, "other", one)
	b.holds("team", "other")
	b.pass(2 * time.Minute)
	if code, _ := b.of(sandbox.Start, session, one); code != sandbox.CodeQuota {
		t.Errorf("what runs was freed: %q", code)
	}
	b.holds("team", "other")
	looked := b.count[getRecord]
	if code, _ := b.of(sandbox.Start, session, one); code != sandbox.CodeQuota || b.count[getRecord] != looked+1 {
		t.Errorf("%q after %d reads: one that was just seen is looked at again", code, b.count[getRecord]-looked)
	}
}

// A ledger that somebody deleted fills again by what clients start anew.
func TestALostLedger(t *testing.T) {
	t.Parallel()
	b := inSituationOf(t, running, two)
	clear(b.ledgers)
	clear(b.swaps)
	b.do(sandbox.Start)
	b.counted("after another start")
	b.do(sandbox.Stop)
	b.holds("team")
}

// The record moves between the place and the write: the decision is made again,
// with the same place or without.
func TestTheRecordMovesUnderATakenPlace(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		move func(*sandbox.Record)
		code sandbox.Code
		want []string
	}{
		"its version only": {func(*sandbox.Record) {}, "", []string{session}},
		"stopped by a later command": {func(r *sandbox.Record) {
			r.Desired, r.Spec, r.Fence = sandbox.Stopped, sandbox.Spec{}, r.Fence+1000
		}, sandbox.CodeOvertaken, nil},
		"another sandbox": {func(r *sandbox.Record) { r.RuntimeID = sandbox.NewRuntimeID() }, sandbox.CodeNotFound, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := inSituationOf(t, paused, two)
			b.before[updateRecord] = func(n int) error {
				if n == 1 {
					b.change(tt.move)
					return cluster.ErrMoved
				}
				return nil
			}
			c, seq := b.command(sandbox.Resume)
			out, err := b.Run(t.Context(), c, seq)
			if err != nil || sandbox.CodeOf(out.Err) != tt.code {
				t.Fatalf("%v, %v", err, out.Err)
			}
			b.counted("in the end")
			b.holds("team", tt.want...)
		})
	}
}
