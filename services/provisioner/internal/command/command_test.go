package command_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/cluster"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/command"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDown = errors.New("the API server does not answer")

// TestVerbs: every verb in every situation, without a fault.
func TestVerbs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		from situation
		verb sandbox.Verb
		want string
		code sandbox.Code
	}{
		{none, sandbox.Start, "running 1, 1 pods, 2 objects, starting", ""},
		{running, sandbox.Start, "running 1, 1 pods, 2 objects, starting", ""},
		{failed, sandbox.Start, "running 2, 1 pods, 2 objects, starting", ""},
		{paused, sandbox.Start, "running 2, 1 pods, 2 objects, starting", ""},
		{stopped, sandbox.Start, "running 2, 1 pods, 2 objects, starting", ""},
		{running, sandbox.Resume, "running 1, 1 pods, 2 objects, starting", ""},
		{failed, sandbox.Resume, "running 2, 1 pods, 2 objects, starting", ""},
		{paused, sandbox.Resume, "running 2, 1 pods, 2 objects, starting", ""},
		{stopped, sandbox.Resume, "stopped 1, 0 pods, 0 objects, stopped", sandbox.CodeNotFound},
		{running, sandbox.Pause, "paused 1, 0 pods, 2 objects, paused", ""},
		{failed, sandbox.Pause, "paused 1, 0 pods, 2 objects, paused", ""},
		{paused, sandbox.Pause, "paused 1, 0 pods, 2 objects, paused", ""},
		{stopped, sandbox.Pause, "stopped 1, 0 pods, 0 objects, stopped", sandbox.CodeNotFound},
		{running, sandbox.Stop, "stopped 1, 0 pods, 0 objects, stopped", ""},
		{failed, sandbox.Stop, "stopped 1, 0 pods, 0 objects, stopped", ""},
		{paused, sandbox.Stop, "stopped 1, 0 pods, 0 objects, stopped", ""},
		{stopped, sandbox.Stop, "stopped 1, 0 pods, 0 objects, stopped", ""},
		{none, sandbox.Stop, "no record, 0 pods, 0 objects", sandbox.CodeNotFound},
		{ending, sandbox.Start, "running 2, 2 pods, 2 objects, starting", ""},
		{ending, sandbox.Resume, "running 2, 2 pods, 2 objects, starting", ""},
		{ending, sandbox.Pause, "paused 1, 1 pods, 2 objects, paused", ""},
		{ending, sandbox.Stop, "stopped 1, 1 pods, 0 objects, stopped", ""},
	} {
		t.Run(fmt.Sprint(tt.verb, " when ", tt.from), func(t *testing.T) {
			t.Parallel()
			b := inSituation(t, tt.from)
			c, seq := b.command(tt.verb)
			out, err := b.Run(t.Context(), c, seq)
			if err != nil || sandbox.CodeOf(out.Err) != tt.code || out.Silent {
				t.Fatalf("%v, %+v", err, out)
			}
			b.is(tt.want)
			if tt.code != "" {
				if out.View != nil || len(b.writes()) != 0 {
					t.Errorf("refused, and %+v, %v", out.View, b.writes())
				}
				return
			}
			if r := b.record(); r.Fence != seq || r.LastCommand != c.ID || out.View == nil || out.View.LastCommand != c.ID || out.Record.ResourceVersion != r.ResourceVersion || out.Revision == 0 {
				t.Errorf("%+v of %+v", out, r)
			}
			// Once more, as after a lost ack: nothing changes but that it is looked at.
			before := b.record()
			again, err := b.Run(t.Context(), c, seq)
			if err != nil || again.Err != nil || !reflect.DeepEqual(b.record(), before) || !reflect.DeepEqual(again.View, out.View) {
				t.Errorf("delivered again: %v, %+v", err, again)
			}
			b.is(tt.want)
			// And as the stream stores it again whose memory of ids is over: it is a
			// command of its own then, for the same sandbox.
			stored, err := b.Run(t.Context(), c, seq+1)
			now := b.record()
			if err != nil || stored.Err != nil || now.Fence != seq+1 || now.RuntimeID != before.RuntimeID || now.Generation != before.Generation {
				t.Errorf("stored again: %v, %+v\nbefore %+v\nafter  %+v", err, stored, before, now)
			}
			b.is(tt.want)
		})
	}
}

// That a session is fresh is its sender's guess. Where it is wrong, all is as it would
// have been without: for a start that may be done, one that is too late, and one
// whose image is not run here.
func TestAFreshSessionThatIsThere(t *testing.T) {
	t.Parallel()
	for _, from := range []situation{none, running, failed, paused, stopped, ending} {
		for name, spoil := range map[string]func(*bench, *sandbox.Command){
			"in time":  func(*bench, *sandbox.Command) {},
			"too late": func(b *bench, c *sandbox.Command) { c.Deadline = b.now() },
			"a refused spec": func(b *bench, _ *sandbox.Command) {
				b.before[check] = func(int) error { return sandbox.Errorf(sandbox.CodeForbidden, "not here") }
			},
		} {
			t.Run(fmt.Sprint("when ", from, ", ", name), func(t *testing.T) {
				t.Parallel()
				var told [2]string
				for i, fresh := range []bool{false, true} {
					b := inSituation(t, from)
					b.fresh = fresh
					c, seq := b.command(sandbox.Start)
					spoil(b, &c)
					out, err := b.Run(t.Context(), c, seq)
					if err != nil {
						t.Fatal(err)
					}
					told[i] = fmt.Sprint(b.world(), ", ", sandbox.CodeOf(out.Err), ", ", out.View != nil)
				}
				if told[0] != told[1] {
					t.Errorf("%s; not fresh: %s", told[1], told[0])
				}
			})
		}
	}
}

// Of a sandbox that was made just now nobody else has written a view. Where that took
// longer the watcher may have, and the key is read.
func TestTheFirstViewIsWrittenUnread(t *testing.T) {
	t.Parallel()
	for took, believed := range map[time.Duration]bool{0: true, sandbox.FirstShown - time.Millisecond: true, sandbox.FirstShown: false} {
		b := inSituation(t, none)
		b.after[createPod] = func(int) error { b.pass(took); return nil }
		b.do(sandbox.Start)
		b.do(sandbox.Start) // of what is there
		if want := []bool{believed, false}; !slices.Equal(b.believed, want) {
			t.Errorf("after %s: %v, want %v", took, b.believed, want)
		}
	}
}

// A pause or resume brings back what was asked at the start, and a start of a
// paused sandbox the recorded spec, not its own.
func TestPodHasTheRecordedSpec(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		from  situation
		verb  sandbox.Verb
		image string
	}{
		"resume":                   {paused, sandbox.Resume, "image-1"},
		"start of a paused one":    {paused, sandbox.Start, "image-1"},
		"start of a stopped one":   {stopped, sandbox.Start, "image-2"},
		"start of a failed one":    {failed, sandbox.Start, "image-2"},
		"resume of a failed one":   {failed, sandbox.Resume, "image-1"},
		"start of one that is not": {none, sandbox.Start, "image-2"},
		"start of an ending one":   {ending, sandbox.Start, "image-1"},
		"resume of an ending one":  {ending, sandbox.Resume, "image-1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := inSituation(t, tt.from)
			c, seq := b.command(tt.verb)
			if c.Spec != nil {
				c.Spec = spec("image-2")
			}
			if out, err := b.Run(t.Context(), c, seq); err != nil || out.Err != nil {
				t.Fatalf("%v, %v", err, out.Err)
			}
			r := b.record()
			pod := sandbox.PodName(r.RuntimeID, r.Incarnation)
			if want := *spec(tt.image); !reflect.DeepEqual(b.specs[pod], want) || b.keys[pod] != r.SessionKey {
				t.Errorf("%+v with key %q", b.specs[pod], b.keys[pod])
			}
		})
	}
}

func TestIdsAndKeys(t *testing.T) {
	t.Parallel()
	type kept struct{ id, url, session, secret, born bool }
	all := kept{true, true, true, true, true}
	for name, tt := range map[string]struct {
		from   situation
		verb   sandbox.Verb
		rotate bool
		number int
		kept   kept
	}{
		"resume":                        {paused, sandbox.Resume, false, 1, all},
		"resume, rotating":              {paused, sandbox.Resume, true, 2, kept{true, true, false, true, true}},
		"start of a paused, rotating":   {paused, sandbox.Start, true, 2, kept{true, true, false, true, true}},
		"resume of a running, rotating": {running, sandbox.Resume, true, 1, all},
		"start of a running, rotating":  {running, sandbox.Start, true, 1, all},
		"start of a failed, rotating":   {failed, sandbox.Start, true, 1, all},
		"resume of a failed, rotating":  {failed, sandbox.Resume, true, 2, kept{true, true, false, true, true}},
		"resume of an ending, rotating": {ending, sandbox.Resume, true, 1, all},
		"start of an ending, rotating":  {ending, sandbox.Start, true, 1, all},
		"start after stop":              {stopped, sandbox.Start, false, 2, kept{}},
		"start after stop, rotating":    {stopped, sandbox.Start, true, 2, kept{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := inSituation(t, tt.from)
			was := b.record()
			c, seq := b.command(tt.verb)
			c.RotateKey = tt.rotate
			out, err := b.Run(t.Context(), c, seq)
			if err != nil || out.Err != nil {
				t.Fatalf("%v, %v", err, out.Err)
			}
			is := b.record()
			got := kept{
				is.RuntimeID == was.RuntimeID, is.Route.URL == was.Route.URL, is.SessionKey == was.SessionKey,
				is.SecretKey == was.SecretKey, is.CreatedAt.Equal(was.CreatedAt),
			}
			if got != tt.kept || is.KeyNumber != tt.number {
				t.Errorf("kept %+v, number %d", got, is.KeyNumber)
			}
			if len(is.SessionKey) != 43 || len(is.SecretKey) != 43 || is.SessionKey == is.SecretKey || !sandbox.ValidRuntimeID(is.RuntimeID) {
				t.Errorf("%+v", is)
			}
			if out.View.SessionKey != is.SessionKey || out.View.RuntimeID != is.RuntimeID || out.View.Route.URL != is.Route.URL {
				t.Errorf("the sender is told %+v", out.View)
			}
			if is.UID != was.UID || is.Generation < was.Generation || is.Incarnation < was.Incarnation {
				t.Errorf("%+v became %+v", was, is)
			}
		})
	}
}

func TestCheckComesBeforeAnyWrite(t *testing.T) {
	t.Parallel()
	no := sandbox.Errorf(sandbox.CodeForbidden, "not here")
	for _, tt := range []struct {
		from    situation
		verb    sandbox.Verb
		checked bool
	}{
		{none, sandbox.Start, true},
		{stopped, sandbox.Start, true},
		{failed, sandbox.Start, true},
		{running, sandbox.Start, false}, // the recorded spec goes on
		{ending, sandbox.Start, false},
		{paused, sandbox.Start, false},
		{paused, sandbox.Resume, false},
		{running, sandbox.Stop, false},
	} {
		t.Run(fmt.Sprint(tt.verb, " when ", tt.from), func(t *testing.T) {
			t.Parallel()
			b := inSituation(t, tt.from)
			was := b.world()
			b.before[check] = func(int) error { return no }
			c, seq := b.command(tt.verb)
			out, err := b.Run(t.Context(), c, seq)
			if err != nil {
				t.Fatal(err)
			}
			if !tt.checked {
				if out.Err != nil {
					t.Errorf("%v", out.Err)
				}
				return
			}
			if !errors.Is(out.Err, no) || out.View != nil || len(b.writes()) != 0 {
				t.Errorf("%+v after %v", out, b.writes())
			}
			b.is(was)
		})
	}
}

func TestLate(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		from  situation
		verb  sandbox.Verb
		late  func(*bench, *sandbox.Command) context.Context
		code  sandbox.Code // "": it is an error or done, see want
		wrong bool
		done  bool
	}{
		"start":                             {from: none, verb: sandbox.Start, late: deadlinePassed, code: sandbox.CodeExpired},
		"start after stop":                  {from: stopped, verb: sandbox.Start, late: deadlinePassed, code: sandbox.CodeExpired},
		"start of a failed":                 {from: failed, verb: sandbox.Start, late: deadlinePassed, code: sandbox.CodeExpired},
		"resume":                            {from: paused, verb: sandbox.Resume, late: deadlinePassed, code: sandbox.CodeExpired},
		"start, while reading":              {from: none, verb: sandbox.Start, late: passesWhileReading, code: sandbox.CodeExpired},
		"start after stop, while reading":   {from: stopped, verb: sandbox.Start, late: passesWhileReading, code: sandbox.CodeExpired},
		"resume, while reading":             {from: paused, verb: sandbox.Resume, late: passesWhileReading, code: sandbox.CodeExpired},
		"the attempt's end, while reading":  {from: none, verb: sandbox.Start, late: attemptEnds, wrong: true},
		"the attempt's end, of a stop":      {from: running, verb: sandbox.Stop, late: attemptEnds, wrong: true},
		"stop runs late":                    {from: running, verb: sandbox.Stop, late: deadlinePassed, done: true},
		"pause runs late":                   {from: running, verb: sandbox.Pause, late: passesWhileReading, done: true},
		"a start of a running one is no go": {from: running, verb: sandbox.Start, late: deadlinePassed, done: true},
		"a start of an ending one is no go": {from: ending, verb: sandbox.Start, late: deadlinePassed, done: true},
		"an ending one, while reading":      {from: ending, verb: sandbox.Resume, late: passesWhileReading, code: sandbox.CodeExpired},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := inSituation(t, tt.from)
			c, seq := b.command(tt.verb)
			ctx := tt.late(b, &c)
			out, err := b.Run(ctx, c, seq)
			if (err != nil) != tt.wrong || sandbox.CodeOf(out.Err) != tt.code {
				t.Fatalf("%v, %v", err, out.Err)
			}
			if wrote := b.count[createRecord] + b.count[updateRecord]; (wrote != 0) != tt.done {
				t.Errorf("%v", b.writes())
			}
			if !tt.done && len(b.writes()) != 0 {
				t.Errorf("%v", b.writes())
			}
		})
	}
}

func deadlinePassed(b *bench, c *sandbox.Command) context.Context {
	c.Deadline = b.now()
	return b.t.Context()
}

func passesWhileReading(b *bench, _ *sandbox.Command) context.Context {
	b.after[getRecord] = func(int) error { b.pass(time.Second); return nil }
	reads := 0
	now := b.now
	b.Now = func() time.Time { // the decision is in time, the write is not
		if reads++; reads > 1 {
			return now().Add(time.Minute)
		}
		return now()
	}
	return b.t.Context()
}

func attemptEnds(b *bench, _ *sandbox.Command) context.Context {
	ctx, cancel := context.WithCancel(b.t.Context())
	b.after[getRecord] = func(int) error { cancel(); return nil }
	return ctx
}

// A start whose write was in time finishes its own half-made work, however late.
func TestOwnHalfMadeWorkIsFinishedLate(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.before[createPod] = func(int) error { return errDown }
	c, seq := b.command(sandbox.Start)
	if out, err := b.Run(t.Context(), c, seq); !errors.Is(err, errDown) || out.Err != nil || out.View != nil {
		t.Fatalf("%v, %+v", err, out)
	}
	b.pass(time.Hour)
	b.forget()
	out, err := b.Run(t.Context(), c, seq)
	if err != nil || out.Err != nil || out.View == nil {
		t.Fatalf("%v, %+v", err, out)
	}
	b.is("running 1, 1 pods, 2 objects, starting")
}

func TestOvertaken(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		from situation
		verb sandbox.Verb
		code sandbox.Code
	}{
		"start, stopped since": {stopped, sandbox.Start, sandbox.CodeOvertaken},
		"start, paused since":  {paused, sandbox.Start, sandbox.CodeOvertaken},
		"start, running":       {running, sandbox.Start, ""},
		"pause, running since": {running, sandbox.Pause, sandbox.CodeOvertaken},
		"resume, paused since": {paused, sandbox.Resume, sandbox.CodeOvertaken},
		"stop, running since":  {running, sandbox.Stop, sandbox.CodeOvertaken},
		"stop, stopped":        {stopped, sandbox.Stop, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := inSituation(t, tt.from)
			was := b.record()
			c, _ := b.command(tt.verb)
			out, err := b.Run(t.Context(), c, was.Fence) // not above it
			if err != nil || sandbox.CodeOf(out.Err) != tt.code || (out.View != nil) != (tt.code == "") {
				t.Errorf("%v, %+v", err, out)
			}
			if !reflect.DeepEqual(b.record(), was) || b.count[updateRecord] != 0 {
				t.Errorf("%v", b.writes())
			}
		})
	}
}

// A fault at any one call of any verb: nothing is told, the command is tried
// again, and then all is as if there had been none. Whether the call was carried
// out before its answer was lost makes no difference.
func TestOneFaultAnywhere(t *testing.T) {
	t.Parallel()
	for _, verb := range []struct {
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
		{running, sandbox.Stop},
		{paused, sandbox.Stop},
	} {
		whole := inSituation(t, verb.from)
		whole.do(verb.verb)
		for kind, calls := range whole.count {
			if kind == check {
				continue // no call to anywhere
			}
			for n := 1; n <= calls; n++ {
				for _, lost := range []bool{false, true} {
					name := fmt.Sprintf("%s when %s, %s %d", verb.verb, verb.from, kind, n)
					if lost {
						name += ", answer lost"
					}
					t.Run(name, func(t *testing.T) {
						t.Parallel()
						b := inSituation(t, verb.from)
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
						c, seq := b.command(verb.verb)
						out, err := b.Run(t.Context(), c, seq)
						if !errors.Is(err, errDown) || out.Err != nil || out.View != nil {
							t.Fatalf("%v, %+v", err, out)
						}
						b.forget()
						out, err = b.Run(t.Context(), c, seq)
						if err != nil || out.Err != nil || out.View == nil {
							t.Fatalf("the second time: %v, %+v", err, out)
						}
						b.is(whole.world())
						is, want := b.record(), whole.record()
						if is.Generation-want.Generation > 0 || is.KeyNumber != want.KeyNumber || is.Incarnation != want.Incarnation || is.Fence != seq {
							t.Errorf("%+v, without the fault %+v", is, want)
						}
					})
				}
			}
		}
	}
}

// Twenty starts of one session at once make one sandbox, and each gets it.
func TestStartsAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const n = 20
	outs := make([]command.Outcome, n)
	var wg sync.WaitGroup
	for i := range n {
		c, seq := b.command(sandbox.Start)
		wg.Go(func() {
			var err error
			if outs[i], err = b.Run(t.Context(), c, seq); err != nil {
				t.Errorf("%v", err)
			}
		})
	}
	wg.Wait()
	for _, out := range outs {
		// One with a lower number that comes after a higher is answered from the record.
		if out.Err != nil || out.View == nil || out.View.RuntimeID != outs[0].View.RuntimeID || out.View.SessionKey != outs[0].View.SessionKey {
			t.Fatalf("%+v", out)
		}
	}
	b.is("running 1, 1 pods, 2 objects, starting")
}

func TestConflictStorm(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		kind   string
		moves  error
		rounds int // how often it moves
		wrong  bool
	}{
		"a swap, for ever":    {updateRecord, cluster.ErrMoved, 1 << 20, true},
		"a swap, for a while": {updateRecord, cluster.ErrMoved, 31, false},
		"a view, for ever":    {putView, views.ErrMoved, 1 << 20, true},
		"a view, for a while": {putView, views.ErrMoved, 31, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := inSituation(t, running)
			b.before[tt.kind] = func(n int) error {
				if n > tt.rounds {
					return nil
				}
				b.change(func(*sandbox.Record) {}) // another provisioner was first
				return tt.moves
			}
			c, seq := b.command(sandbox.Pause)
			out, err := b.Run(t.Context(), c, seq)
			if (err != nil) != tt.wrong || out.Err != nil || (out.View == nil) != tt.wrong {
				t.Fatalf("%v, %+v", err, out)
			}
			if n := b.count[tt.kind]; n > 33 {
				t.Errorf("%d calls", n)
			}
			if err != nil && sandbox.CodeOf(err) != sandbox.CodeInternal {
				t.Errorf("%v is told to the sender", err)
			}
		})
	}
}

// The name was taken between the read and the create: read again, and take part.
func TestCreateLosesTheRace(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	other := newBench(t)
	other.fake, other.Cluster, other.Views = b.fake, b.fake, b.fake
	b.before[createRecord] = func(n int) error {
		if n == 1 {
			other.do(sandbox.Start)
		}
		return nil
	}
	b.seq = 1000
	out := b.do(sandbox.Start)
	b.is("running 1, 1 pods, 2 objects, starting")
	if r := b.record(); out.View.RuntimeID != r.RuntimeID || r.Fence != 1001 {
		t.Errorf("%+v for %+v", out.View, r)
	}
}

// The record moves while the view is written: whoever moved it may have died, so
// its wish is carried out here too.
func TestViewsSayMoved(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		move func(*bench)
		want string
		code sandbox.Code
	}{
		"paused since": {func(b *bench) {
			b.change(func(r *sandbox.Record) { r.Generation++; r.Fence, r.Desired = 500, sandbox.Paused })
		}, "paused 1, 0 pods, 2 objects, paused", ""},
		"stopped since": {func(b *bench) {
			b.change(func(r *sandbox.Record) {
				r.Generation++
				r.Fence, r.Desired, r.Spec = 500, sandbox.Stopped, sandbox.Spec{}
			})
		}, "stopped 1, 0 pods, 0 objects, stopped", ""},
		"deleted since": {func(b *bench) {
			b.fake.mu.Lock()
			defer b.fake.mu.Unlock()
			delete(b.records, recordName)
		}, "no record, 1 pods, 2 objects", sandbox.CodeOvertaken}, // the collector has the rest
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			// The one who made the record died. The fake's Put asks whether the record is
			// live before it makes a key, as the store does.
			b.after[createRecord] = func(int) error { return errDown }
			c, seq := b.command(sandbox.Start)
			if _, err := b.Run(t.Context(), c, seq); err == nil {
				t.Fatal("it did not die")
			}
			b.after[createPod] = func(n int) error {
				if n == 1 {
					tt.move(b)
				}
				return nil
			}
			out, err := b.Run(t.Context(), c, seq)
			if err != nil || sandbox.CodeOf(out.Err) != tt.code {
				t.Fatalf("%v, %+v", err, out)
			}
			b.is(tt.want)
			if tt.code == "" && out.Record.ResourceVersion != b.record().ResourceVersion {
				t.Error("the outcome is not of the record as it is")
			}
		})
	}
}

// Who made the record needs no look at it before its first view, as long as the
// attempt may last; and no later.
func TestTheFirstViewOfWhoMadeTheRecord(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		took  time.Duration
		reads int // of the record
	}{
		"in time":  {sandbox.LongestAttempt - time.Second, 1},
		"too late": {sandbox.LongestAttempt, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			now := b.Now()
			b.Now = func() time.Time { return now }
			b.after[createPod] = func(int) error { now = now.Add(tt.took); return nil }
			b.do(sandbox.Start)
			if b.count[getRecord] != tt.reads {
				t.Errorf("the record was read %d times: %v", b.count[getRecord], b.calls)
			}
		})
	}
}

// A session was stopped, and who did it died before the pod was gone: the session's
// next sandbox gets its pod after that.
func TestTheOldPodGoesBeforeTheNewComes(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do(sandbox.Start)
	old := sandbox.PodName(b.record().RuntimeID, 1)
	b.change(func(r *sandbox.Record) {
		r.Generation++
		r.Desired, r.Spec = sandbox.Stopped, sandbox.Spec{}
	})
	b.forget()
	out := b.do(sandbox.Start)
	gone := slices.Index(b.calls, deletePod+" "+old)
	made := slices.IndexFunc(b.calls, func(c string) bool { return strings.HasPrefix(c, createPod+" "+out.View.RuntimeID) })
	if gone < 0 || made < 0 || made < gone {
		t.Errorf("%v", b.calls)
	}
	b.is("running 2, 1 pods, 2 objects, starting")
}

// A pod that is not made because the record has moved meanwhile is no error: what the
// record wants now is done, and nothing is left of what was made for it.
func TestAPodThatIsNotWantedAnyMore(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		move func(*sandbox.Record)
		want string
	}{
		"stopped since":    {func(r *sandbox.Record) { r.Fence, r.Desired, r.Spec = 500, sandbox.Stopped, sandbox.Spec{} }, "stopped 1, 0 pods, 0 objects, stopped"},
		"by a newer spec":  {func(r *sandbox.Record) { r.Fence, r.Incarnation = 500, 2 }, "running 2, 1 pods, 2 objects, starting"},
		"of no importance": {func(*sandbox.Record) {}, "running 1, 1 pods, 2 objects, starting"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.before[createPod] = func(n int) error {
				if n > 1 {
					return nil
				}
				b.change(func(r *sandbox.Record) { r.Generation++; tt.move(r) })
				return cluster.ErrMoved
			}
			c, seq := b.command(sandbox.Start)
			out, err := b.Run(t.Context(), c, seq)
			if err != nil || out.Err != nil {
				t.Fatalf("%v, %+v", err, out)
			}
			b.is(tt.want)
		})
	}
}

func TestFollow(t *testing.T) {
	t.Parallel()
	pause := func(r *sandbox.Record) { r.Generation++; r.Desired = sandbox.Paused }
	for name, tt := range map[string]struct {
		then  func(*bench)
		want  string
		reads int // of the record
		wrong bool
	}{
		"nothing happened": {func(*bench) {}, "running 1, 1 pods, 2 objects, starting", 1, false},
		"paused":           {func(b *bench) { b.change(pause) }, "paused 1, 0 pods, 2 objects, paused", 2, false},
		"only the fence":   {func(b *bench) { b.change(func(r *sandbox.Record) { r.Fence++ }) }, "running 1, 1 pods, 2 objects, starting", 2, false},
		"deleted": {func(b *bench) {
			b.fake.mu.Lock()
			defer b.fake.mu.Unlock()
			delete(b.records, recordName)
		}, "no record, 1 pods, 2 objects", 1, false},
		"moved again while it followed": {func(b *bench) {
			b.change(func(r *sandbox.Record) { r.Fence++ })
			b.after[putView] = func(n int) error {
				if n == 1 {
					b.change(pause)
				}
				return nil
			}
		}, "paused 1, 0 pods, 2 objects, paused", 3, false},
		"moved for ever": {func(b *bench) {
			b.change(func(r *sandbox.Record) { r.Fence++ })
			b.after[putView] = func(int) error { b.change(func(r *sandbox.Record) { r.Fence++ }); return nil }
		}, "running 1, 1 pods, 2 objects, starting", 32, false}, // the next attempt of whoever moves it sees to it
		"moved again before its pod was made": {func(b *bench) {
			b.change(func(r *sandbox.Record) { r.Generation++; r.Incarnation++ })
			b.before[createPod] = func(int) error {
				b.change(pause)
				return cluster.ErrMoved
			}
		}, "paused 2, 0 pods, 2 objects, paused", 3, false},
		"the API server is down":    {func(b *bench) { b.before[getRecord] = func(int) error { return errDown } }, "running 1, 1 pods, 2 objects, starting", 1, true},
		"converging does not go on": {func(b *bench) { b.change(pause); b.before[deletePod] = func(int) error { return errDown } }, "paused 1, 1 pods, 2 objects, starting", 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			out := b.do(sandbox.Start)
			b.forget()
			tt.then(b)
			err := b.Follow(t.Context(), out)
			if (err != nil) != tt.wrong {
				t.Error(err)
			}
			b.is(tt.want)
			if b.count[getRecord] != tt.reads {
				t.Errorf("the record was read %d times: %v", b.count[getRecord], b.calls)
			}
		})
	}
	t.Run("an outcome without a record", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		if err := b.Follow(t.Context(), command.Outcome{Err: errDown}); err != nil || len(b.calls) != 0 {
			t.Errorf("%v, %v", err, b.calls)
		}
	})
}

func TestBoundCommands(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		from   situation
		verb   sandbox.Verb
		change func(*bench, *sandbox.Command)
		want   string
		drop   bool
	}{
		"purge": {stopped, sandbox.Purge, nil, "no record, 0 pods, 0 objects", false},
		"purge, with something left": {stopped, sandbox.Purge, func(b *bench, _ *sandbox.Command) {
			r := b.record()
			_ = b.object(r, "PersistentVolumeClaim")
		}, "no record, 0 pods, 0 objects", false},
		"purge of one started since": {stopped, sandbox.Purge, func(b *bench, _ *sandbox.Command) { b.do(sandbox.Start) }, "running 2, 1 pods, 2 objects, starting", true},
		"purge of another record":    {stopped, sandbox.Purge, func(_ *bench, c *sandbox.Command) { c.RecordUID = "other" }, "stopped 1, 0 pods, 0 objects, stopped", true},
		"purge of a running one":     {running, sandbox.Purge, nil, "running 1, 1 pods, 2 objects, starting", true},
		"reconcile, the pod is gone": {running, sandbox.Reconcile, func(b *bench, _ *sandbox.Command) {
			clear(b.pods)
		}, "running 1, 1 pods, 2 objects, starting", false},
		"reconcile, a pod too many": {paused, sandbox.Reconcile, func(b *bench, _ *sandbox.Command) {
			r := b.record()
			r.Generation--
			_, _ = b.CreatePod(b.t.Context(), r, cluster.LookFirst)
		}, "paused 1, 0 pods, 2 objects, paused", false},
		"reconcile, the pod is ending": {ending, sandbox.Reconcile, nil, "running 2, 2 pods, 2 objects, starting", false},
		"reconcile, another record's pod has the name": {running, sandbox.Reconcile, func(b *bench, _ *sandbox.Command) {
			for _, p := range b.pods {
				p.RecordUID = "before"
			}
		}, "running 2, 2 pods, 2 objects, starting", false},
		"reconcile of a paused one whose pod is ending": {ending, sandbox.Reconcile, func(b *bench, c *sandbox.Command) {
			b.do(sandbox.Pause)
			c.Generation = b.record().Generation
		}, "paused 1, 1 pods, 2 objects, paused", false},
		"reconcile of an older generation": {running, sandbox.Reconcile, func(_ *bench, c *sandbox.Command) { c.Generation-- }, "running 1, 1 pods, 2 objects, starting", true},
		"the clock's pause":                {running, sandbox.Pause, nil, "paused 1, 0 pods, 2 objects, paused", false},
		"the clock's stop":                 {paused, sandbox.Stop, nil, "stopped 1, 0 pods, 0 objects, stopped", false},
		"the clock's pause, too late":      {running, sandbox.Pause, func(_ *bench, c *sandbox.Command) { c.Generation-- }, "running 1, 1 pods, 2 objects, starting", true},
		"the clock's pause, asked for since": {running, sandbox.Pause, func(b *bench, _ *sandbox.Command) {
			b.do(sandbox.Start) // moves the fence only
		}, "running 1, 1 pods, 2 objects, starting", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := inSituation(t, tt.from)
			c := b.bound(tt.verb)
			if tt.change != nil {
				tt.change(b, &c)
			}
			b.forget()
			fence := b.record().Fence
			out, err := b.Run(t.Context(), c, 1<<40)
			if err != nil || out.Err != nil || !out.Silent {
				t.Errorf("%v, %+v", err, out)
			}
			b.is(tt.want)
			if r := b.record(); r != nil && r.Fence != fence {
				t.Error("it moved the fence")
			}
			if tt.drop && len(b.writes()) != 0 {
				t.Errorf("%v", b.writes())
			}
		})
	}
	t.Run("no record is made", func(t *testing.T) {
		t.Parallel()
		b := inSituation(t, running)
		c := b.bound(sandbox.Reconcile)
		clear(b.records)
		b.forget()
		if out, err := b.Run(t.Context(), c, 1); err != nil || !out.Silent || len(b.writes()) != 0 {
			t.Errorf("%v, %+v, %v", err, out, b.writes())
		}
	})
}

// The pods' keys stand in the record: it stays until they are gone.
func TestPurgeWaitsForPods(t *testing.T) {
	t.Parallel()
	b := inSituation(t, running)
	b.linger = true
	b.do(sandbox.Stop)
	b.is("stopped 1, 1 pods, 0 objects, stopped")
	c := b.bound(sandbox.Purge)
	if out, err := b.Run(t.Context(), c, 1); err != nil || out.Err != nil || !out.Silent {
		t.Fatalf("%v, %+v", err, out)
	}
	b.is("stopped 1, 1 pods, 0 objects, stopped")
	if b.count[deleteRecord] != 0 {
		t.Error("it was deleted under its pod")
	}
	clear(b.pods)
	// Another record's pod is the collector's and holds up nothing.
	_, _ = b.CreatePod(t.Context(), &sandbox.Record{Name: recordName, UID: "other", RuntimeID: "x", Incarnation: 1}, cluster.LookFirst)
	if out, err := b.Run(t.Context(), c, 1); err != nil || out.Err != nil {
		t.Fatalf("%v, %+v", err, out)
	}
	b.is("no record, 1 pods, 0 objects")
}

// A start that comes between a purge's look and its delete keeps its record.
func TestPurgeBeaten(t *testing.T) {
	t.Parallel()
	b := inSituation(t, stopped)
	b.before[deleteRecord] = func(int) error { b.do(sandbox.Start); return nil }
	if out, err := b.Run(t.Context(), b.bound(sandbox.Purge), 1); err != nil || out.Err != nil {
		t.Fatalf("%v, %+v", err, out)
	}
	b.is("running 2, 1 pods, 2 objects, starting")
}

// What converge must leave alone, however it looks.
func TestCleanLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*sandbox.Record){
		"of a newer generation":  func(r *sandbox.Record) { r.Generation += 10; r.Incarnation = 7; r.RuntimeID = "newer" },
		"of another record's id": func(r *sandbox.Record) { r.UID = "other"; r.Incarnation = 7; r.RuntimeID = "others" },
	} {
		for how, look := range map[string]func(*sandbox.Record){
			"named": func(*sandbox.Record) {}, "listed": func(r *sandbox.Record) { r.Original = "" },
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				t.Parallel()
				b := inSituation(t, running)
				b.change(look)
				other := b.record()
				change(other)
				if _, err := b.CreatePod(t.Context(), other, cluster.LookFirst); err != nil {
					t.Fatal(err)
				}
				if err := b.CreateVolume(t.Context(), other, cluster.LookFirst); err != nil {
					t.Fatal(err)
				}
				b.do(sandbox.Stop)
				b.is("stopped 1, 1 pods, 1 objects, stopped")
				if w := b.writes(); slices.Contains(w, "delete pod "+sandbox.PodName(other.RuntimeID, other.Incarnation)) {
					t.Errorf("%v", w)
				}
			})
		}
	}
}

func TestNoKeyInErrors(t *testing.T) {
	t.Parallel()
	b := inSituation(t, running)
	b.before[updateRecord] = func(int) error { return cluster.ErrMoved }
	c, seq := b.command(sandbox.Pause)
	_, err := b.Run(t.Context(), c, seq)
	if err == nil || strings.Contains(err.Error(), b.record().SessionKey) {
		t.Errorf("%v", err)
	}
}
