package quota

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func ticket(record string, command uint64) Ticket {
	return Ticket{Record: record, Place: fmt.Sprint(record, "-", command), Command: command, CPU: 1000, Memory: 1 << 30}
}

// of is a ledger in which these records have a place each, of commands 1, 2, ….
func of(records ...string) *Ledger {
	l := &Ledger{Tenant: "t", Key: "k", Places: map[string]map[string]Place{}}
	for i, r := range records {
		l.put(ticket(r, uint64(i+1)), now, false)
	}
	return l
}

// clone shares nothing with l.
func (l *Ledger) clone() *Ledger {
	c := *l
	c.Starts = slices.Clone(l.Starts)
	c.Places = make(map[string]map[string]Place, len(l.Places))
	for record, places := range l.Places {
		c.Places[record] = maps.Clone(places)
	}
	return &c
}

func (l *Ledger) records() []string { return slices.Sorted(maps.Keys(l.Places)) }

// sentence is what a known client matches a refusal with.
var sentence = regexp.MustCompile(`^Active runtime capacity \(\d+\) is exhausted(?: for this key)?; pause or stop a running sandbox before retrying$`)

func TestTake(t *testing.T) {
	t.Parallel()
	big := func(cpu, memory int64) func(*Ticket) {
		return func(t *Ticket) { t.CPU, t.Memory = cpu, memory }
	}
	for name, tt := range map[string]struct {
		held     []string
		record   string
		change   func(*Ticket)
		limits   sandbox.Limits
		code     sandbox.Code
		resource sandbox.Resource
		text     string // "": the sentence
	}{
		"an empty one":                 {nil, "x", nil, sandbox.Limits{Sandboxes: 1}, "", "", ""},
		"the last":                     {[]string{"a"}, "x", nil, sandbox.Limits{Sandboxes: 2}, "", "", ""},
		"one too many":                 {[]string{"a", "b"}, "x", nil, sandbox.Limits{Sandboxes: 2}, sandbox.CodeQuota, "sandboxes", "Active runtime capacity (2) is exhausted for this key; pause or stop a running sandbox before retrying"},
		"its own again":                {[]string{"a", "x"}, "x", nil, sandbox.Limits{Sandboxes: 2}, "", "", ""},
		"limits that were lowered":     {[]string{"a", "b", "c"}, "x", nil, sandbox.Limits{Sandboxes: 2}, sandbox.CodeQuota, "sandboxes", "Active runtime capacity (2) is exhausted for this key; pause or stop a running sandbox before retrying"},
		"its own, limits were lowered": {[]string{"a", "b", "x"}, "x", nil, sandbox.Limits{Sandboxes: 1, CPU: 1500}, "", "", ""},
		"cpu, exactly":                 {[]string{"a"}, "x", nil, sandbox.Limits{CPU: 2000}, "", "", ""},
		"cpu":                          {[]string{"a"}, "x", nil, sandbox.Limits{CPU: 1999}, sandbox.CodeQuota, "cpu", "Active runtime capacity (1) is exhausted for this key; pause or stop a running sandbox before retrying"},
		"cpu, its own grows":           {[]string{"a", "x"}, "x", big(2000, 1<<30), sandbox.Limits{CPU: 2500}, sandbox.CodeQuota, "cpu", ""},
		"cpu, its own shrinks":         {[]string{"a", "x"}, "x", big(500, 1<<30), sandbox.Limits{CPU: 1000}, "", "", ""},
		"cpu, more than all":           {nil, "x", big(4000, 1), sandbox.Limits{CPU: 3000}, sandbox.CodeQuota, "cpu", "the sandbox asks for 4000 CPU millicores, all sandboxes of this key together may have 3000"},
		"memory, exactly":              {[]string{"a", "b"}, "x", nil, sandbox.Limits{Memory: 3 << 30}, "", "", ""},
		"memory":                       {[]string{"a", "b"}, "x", nil, sandbox.Limits{Memory: 3<<30 - 1}, sandbox.CodeQuota, "memory", "Active runtime capacity (2) is exhausted for this key; pause or stop a running sandbox before retrying"},
		"memory, more than all":        {[]string{"a"}, "x", big(1, 2<<30), sandbox.Limits{Memory: 1 << 30}, sandbox.CodeQuota, "memory", "the sandbox asks for 2147483648 bytes of memory, all sandboxes of this key together may have 1073741824"},
		"nothing asked":                {[]string{"a"}, "x", big(0, 0), sandbox.Limits{CPU: 1, Memory: 1}, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := of(tt.held...)
			before, tk := l.clone(), ticket(tt.record, 100)
			if tt.change != nil {
				tt.change(&tk)
			}
			err := l.take(tk, tt.limits, now)
			if sandbox.CodeOf(err) != tt.code {
				t.Fatalf("%v", err)
			}
			if tt.code == "" {
				if !l.has(tt.record, tk.Place) {
					t.Errorf("no place: %+v", l.Places)
				}
				return
			}
			var e *sandbox.Error
			if text := sandbox.MessageOf(err); !errors.As(err, &e) || e.Resource != tt.resource || tt.text != "" && text != tt.text || errors.Is(err, errFull) != sentence.MatchString(text) {
				t.Errorf("%+v", e)
			}
			if !maps.EqualFunc(l.Places, before.Places, maps.Equal) {
				t.Errorf("refused, and %+v became %+v", before.Places, l.Places)
			}
		})
	}
}

// A place that was noted without asking is counted, and no other rests on it.
func TestNoted(t *testing.T) {
	t.Parallel()
	l := of("a")
	l.note(ticket("x", 5), now)
	if err := l.take(ticket("b", 6), sandbox.Limits{Sandboxes: 2}, now); !errors.Is(err, errFull) {
		t.Errorf("it is not counted: %v", err)
	}
	if err := l.take(ticket("x", 7), sandbox.Limits{Sandboxes: 1}, now); !errors.Is(err, errFull) {
		t.Errorf("a place rests on one that was only noted: %v", err)
	}
	if err := l.take(ticket("x", 7), sandbox.Limits{CPU: 1500}, now); !errors.Is(err, errFull) {
		t.Errorf("processors rest on what was only noted: %v", err)
	}
	if err := l.take(ticket("x", 7), sandbox.Limits{Sandboxes: 2}, now); err != nil {
		t.Errorf("its own noted place is in its way: %v", err)
	}
	if err := l.take(ticket("x", 8), sandbox.Limits{Sandboxes: 1}, now); err != nil {
		t.Errorf("what was asked for is not kept: %v", err)
	}
}

// Without a limit on sandboxes there is one all the same: the ledger's own size.
func TestTakeIsBounded(t *testing.T) {
	t.Parallel()
	l := of()
	for i := range sandbox.MaxHeld {
		l.put(Ticket{Record: fmt.Sprint(i), Place: "p", Command: 1}, now, false)
	}
	if err := l.take(ticket("x", 2), sandbox.Limits{CPU: 1 << 40}, now); !errors.Is(err, errFull) {
		t.Errorf("%v", err)
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	two := sandbox.Limits{StartsPerMinute: 2}
	l := of()
	at := func(command uint64, when time.Duration, l *Ledger, limits sandbox.Limits) time.Duration {
		err := l.take(Ticket{Record: "x", Command: command}, limits, now.Add(when))
		if err == nil {
			return 0
		}
		var e *sandbox.Error
		if !errors.As(err, &e) || e.Code != sandbox.CodeRateLimited || e.Resource != sandbox.ResourceStarts || e.RetryAfter <= 0 || e.RetryAfter > time.Minute || errors.Is(err, errFull) {
			t.Fatalf("%+v", err)
		}
		return e.RetryAfter
	}
	for _, step := range []struct {
		command uint64
		when    time.Duration
		wait    time.Duration
	}{
		{1, 0, 0},
		{2, 10 * time.Second, 0},
		{3, 20 * time.Second, 40 * time.Second},
		{2, 20 * time.Second, 0}, // delivered again
		{3, 59*time.Second + 999*time.Millisecond, time.Millisecond},
		{3, time.Minute, 0},
		{4, time.Minute, 10 * time.Second},
		{5, 69 * time.Second, time.Second},
		{5, 70 * time.Second, 0},
	} {
		if wait := at(step.command, step.when, l, two); wait != step.wait {
			t.Errorf("%d after %v: wait %v, want %v", step.command, step.when, wait, step.wait)
		}
	}
	if len(l.Starts) != 2 || len(l.Places) != 0 {
		t.Errorf("%+v", l)
	}
	// A limit that was lowered: till there are fewer than that.
	if wait := at(6, 71*time.Second, l, sandbox.Limits{StartsPerMinute: 1}); wait != 59*time.Second {
		t.Errorf("lowered: wait %v", wait)
	}
	// A clock that is behind another's.
	if wait := at(6, -time.Hour, l, two); wait != time.Minute {
		t.Errorf("behind: wait %v", wait)
	}
	// What is not bounded is not remembered.
	if wait := at(7, 71*time.Second, l, sandbox.Limits{}); wait != 0 || len(l.Starts) != 0 {
		t.Errorf("unbounded: wait %v, %+v", wait, l.Starts)
	}
	// What does not fit is not counted as a start.
	full := of("a")
	if err := full.take(ticket("x", 9), sandbox.Limits{Sandboxes: 1, StartsPerMinute: 1}, now); !errors.Is(err, errFull) || len(full.Starts) != 0 {
		t.Errorf("%v, %+v", err, full.Starts)
	}
}

func TestDropAndUndo(t *testing.T) {
	t.Parallel()
	l := of("a")
	l.put(ticket("a", 5), now, false)
	l.put(ticket("a", 9), now, false)
	for _, step := range []struct {
		place string
		fence uint64
		went  bool
		left  int
	}{
		{"another's", 0, false, 3},
		{"a-5", 0, true, 2},
		{"a-5", 0, false, 2},
		{"", 1, true, 1}, // what a dead attempt of a command before the fence left
		{"a-1", 8, false, 1},
		{"a-1", 9, true, 0},
		{"a-1", 9, false, 0},
	} {
		if went := l.drop("a", step.place, step.fence); went != step.went || len(l.Places["a"]) != step.left {
			t.Errorf("%+v: %v, %+v", step, went, l.Places)
		}
	}
	if len(l.Places) != 0 {
		t.Errorf("%+v", l.Places)
	}
	limits := sandbox.Limits{Sandboxes: 1, StartsPerMinute: 1}
	if err := l.take(ticket("x", 1), limits, now); err != nil {
		t.Fatal(err)
	}
	if !l.undo(ticket("x", 1)) || l.undo(ticket("x", 1)) || len(l.Places) != 0 || len(l.Starts) != 0 {
		t.Errorf("%+v", l)
	}
}

func TestDoubts(t *testing.T) {
	t.Parallel()
	later := now.Add(doubtAfter)
	l := of("a", "b", "c")
	l.put(ticket("young", 9), later, false)
	l.put(ticket("b", 8), now.Add(time.Second), false)
	if got := l.doubtful("c", later); !slices.Equal(got, []string{"a"}) {
		t.Errorf("%q", got)
	}
	if got := l.doubtful("", later.Add(-time.Millisecond)); len(got) != 0 {
		t.Errorf("too early: %q", got)
	}
	later = later.Add(time.Second)
	l.settle("a", "a-1", later)    // runs
	l.settle("b", "b-8", later)    // runs under the later place: the other was left
	l.settle("c", "", later)       // does not
	l.settle("young", "", later)   // its attempt may still write
	l.settle("none", "any", later) // went since
	if got := l.records(); !slices.Equal(got, []string{"a", "b", "young"}) || len(l.Places["b"]) != 1 || !l.has("b", "b-8") {
		t.Errorf("%+v", l.Places)
	}
	if got := l.doubtful("", later.Add(doubtAfter-time.Millisecond)); !slices.Equal(got, []string{"young"}) {
		t.Errorf("%q are looked at again within a minute", got)
	}
	if got := l.doubtful("", later.Add(doubtAfter)); !slices.Equal(got, []string{"young", "a", "b"}) {
		t.Errorf("%q, want the longest unseen first", got)
	}
	many := of()
	for i := range 3 * maxDoubts {
		many.put(ticket(fmt.Sprint(i), 1), now, false)
	}
	if n := len(many.doubtful("", later)); n != maxDoubts {
		t.Errorf("%d at once", n)
	}
}

// Over any history: never more records than the limit, none twice, no sum over
// its limit, and what all gave back leaves nothing.
func TestAnyHistory(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		limits := sandbox.Limits{Sandboxes: 1 + r.IntN(4), CPU: int64(1000 * (1 + r.IntN(6)))}
		l, held := of(), map[string]Ticket{}
		for command := uint64(1); command < 200; command++ {
			record := fmt.Sprint(r.IntN(8))
			tk := Ticket{Record: record, Place: fmt.Sprint(command), Command: command, CPU: int64(500 * (1 + r.IntN(4)))}
			switch old, running := held[record]; {
			case running && r.IntN(2) == 0:
				l.drop(record, old.Place, command)
				delete(held, record)
			case !running:
				if l.take(tk, limits, now) == nil {
					held[record] = tk
				}
			}
			var cpu int64
			for _, h := range held {
				cpu += h.CPU
			}
			if len(l.Places) != len(held) || len(held) > limits.Sandboxes || cpu > limits.CPU {
				t.Fatalf("seed %d, command %d: %d records in the ledger, %d held with %dm of %+v", seed, command, len(l.Places), len(held), cpu, limits)
			}
		}
	}
}
