package sandbox_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// What a command does to a record.
const (
	creates   = "creates"   // a new record
	accepts   = "accepts"   // the fence moves, and nothing else
	runs      = "runs"      // running under a new incarnation, the recorded spec
	replaces  = "replaces"  // running under a new incarnation, the new spec
	moves     = "moves"     // running under a new incarnation, the recorded spec and the same key
	renews    = "renews"    // running as another sandbox: new runtime id, route, spec
	pauses    = "pauses"    //
	stops     = "stops"     // and forgets the spec
	converges = "converges" // nothing is written, the objects follow
	purges    = "purges"    // the record goes
	drops     = "drops"     // nothing at all
	missing   = "not_found"
	expired   = "expired"
	overtaken = "overtaken"
)

var states = []string{"none", "running", "failed", "paused", "stopped", "ending"}

// What a client's command does whose sequence is above the fence, that is in
// time and that means the sandbox that is there. The columns are states.
var clients = map[sandbox.Verb][]string{
	sandbox.Start:     {creates, accepts, replaces, runs, renews, moves},
	sandbox.Resume:    {missing, accepts, runs, runs, missing, moves},
	sandbox.Pause:     {missing, pauses, pauses, accepts, missing, pauses},
	sandbox.Stop:      {missing, stops, stops, stops, accepts, stops},
	sandbox.Reconcile: {drops, drops, drops, drops, drops, drops},
	sandbox.Purge:     {drops, drops, drops, drops, drops, drops},
}

// What it does past its deadline, where that is something else: nothing new is
// made, stop and pause run late.
var late = map[sandbox.Verb][]string{
	sandbox.Start:  {expired, accepts, expired, expired, expired, accepts},
	sandbox.Resume: {missing, accepts, expired, expired, missing, accepts},
}

// What a watcher's command does to the record that it saw; to any other it does
// nothing.
var watchers = map[sandbox.Verb][]string{
	sandbox.Start:     {drops, drops, drops, drops, drops, drops},
	sandbox.Resume:    {drops, drops, drops, drops, drops, drops},
	sandbox.Pause:     {drops, pauses, pauses, drops, drops, pauses},
	sandbox.Stop:      {drops, stops, stops, stops, drops, stops},
	sandbox.Reconcile: {drops, converges, converges, converges, converges, moves},
	sandbox.Purge:     {drops, drops, drops, drops, purges, drops},
}

// What a command that is not above the fence is answered: the view where the
// record is what it wanted.
var overtakenBy = map[sandbox.Verb][]string{
	sandbox.Start:  {"", converges, converges, overtaken, overtaken, converges},
	sandbox.Resume: {"", converges, converges, overtaken, overtaken, converges},
	sandbox.Pause:  {"", overtaken, overtaken, converges, overtaken, overtaken},
	sandbox.Stop:   {"", overtaken, overtaken, overtaken, converges, overtaken},
}

// situation is one row of the walk.
type situation struct {
	verb       sandbox.Verb
	state      int
	late       bool
	fence      int // the command's sequence against the record's fence: -1, 0, 1
	other      bool
	bound      bool
	generation bool // of a bound command: the record's
	uid        string
}

func (s situation) String() string {
	out := fmt.Sprintf("%s of %s, fence %+d", s.verb, states[s.state], s.fence)
	if s.late {
		out += ", late"
	}
	if s.other {
		out += ", other runtime"
	}
	if s.bound {
		out += fmt.Sprintf(", bound to generation %v, uid %q", s.generation, s.uid)
	}
	return out
}

func (s situation) record() *sandbox.Record {
	switch states[s.state] {
	case "none":
		return nil
	case "paused":
		return newRecord(desired(sandbox.Paused))
	case "stopped":
		return newRecord(desired(sandbox.Stopped))
	}
	return newRecord()
}

func (s situation) command() sandbox.Command {
	c := sandbox.Command{
		ID: "this-command", Verb: s.verb, Tenant: "default", SessionID: "s", RuntimeID: runtimeA,
		Deadline: at(time.Minute), RotateKey: true, Reason: "this reason",
	}
	if s.verb == sandbox.Start {
		c.Spec, c.RuntimeID = &sandbox.Spec{Image: "new:2", Environment: map[string]string{"NEW": "1"}, ResourceFactor: 2}, ""
	}
	if s.other {
		c.RuntimeID = runtimeB
	}
	if s.bound {
		c.Generation, c.RecordUID, c.RuntimeID, c.Fence = 1000, s.uid, runtimeA, 50
		if !s.generation {
			c.Generation = 999
		}
		if s.other {
			c.RuntimeID = runtimeB
		}
	}
	return c
}

func (s situation) facts() sandbox.Facts {
	now := at(time.Minute - 1)
	if s.late {
		now = at(time.Minute)
	}
	return sandbox.Facts{
		Sequence: uint64(50 + s.fence), Now: now, Failed: states[s.state] == "failed", Ending: states[s.state] == "ending",
	}
}

func (s situation) want() string {
	exists := states[s.state] != "none"
	switch client := s.verb != sandbox.Reconcile && s.verb != sandbox.Purge; {
	case s.bound:
		if !s.generation || s.other || s.uid != "" && s.uid != "record-uid" {
			return drops
		}
		if s.late && (s.verb == sandbox.Pause || s.verb == sandbox.Stop) {
			return drops // the clock that sent it may say otherwise by now
		}
		return watchers[s.verb][s.state]
	case !client:
		return drops
	case exists && s.fence <= 0:
		if want := overtakenBy[s.verb][s.state]; !s.other || s.verb == sandbox.Start {
			return want
		}
		return overtaken
	case exists && s.other && s.verb != sandbox.Start:
		return missing
	case s.late && late[s.verb] != nil:
		return late[s.verb][s.state]
	}
	return clients[s.verb][s.state]
}

// walk calls f for each situation.
func walk(f func(situation)) {
	both := []bool{false, true}
	for _, verb := range sandbox.Verbs {
		for state := range states {
			for _, late := range both {
				for _, fence := range []int{-1, 0, 1} {
					for _, other := range both {
						f(situation{verb: verb, state: state, late: late, fence: fence, other: other})
						for _, generation := range both {
							for _, uid := range []string{"", "record-uid", "another"} {
								f(situation{verb, state, late, fence, other, true, generation, uid})
							}
						}
					}
				}
			}
		}
	}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	n := 0
	walk(func(s situation) {
		n++
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			r, c, f := s.record(), s.command(), s.facts()
			before, spec := deepCopy(t, r), deepCopy(t, c.Spec)
			e := sandbox.Decide(r, c, f)
			want := expected(s.want(), deepCopy(t, r), c, f, s.bound)
			if !sameEffect(e, want) {
				t.Errorf("want it %s\n got %s\nwant %s", s.want(), show(e), show(want))
			}
			if !reflect.DeepEqual(r, before) || !reflect.DeepEqual(c.Spec, spec) {
				t.Errorf("its input was changed: %+v", r)
			}
			if e.Next != nil {
				spoil(e.Next)
				if !reflect.DeepEqual(r, before) || !reflect.DeepEqual(c.Spec, spec) {
					t.Error("the next record shares something with its input")
				}
			}
		})
	})
	if n != 6*6*2*3*2*7 {
		t.Errorf("walked %d situations", n)
	}
}

// expected is the effect that a word of the tables stands for.
func expected(what string, r *sandbox.Record, c sandbox.Command, f sandbox.Facts, bound bool) sandbox.Effect {
	next := r
	if next != nil {
		next.LastCommand = c.ID
		if !bound {
			next.Fence = f.Sequence
		}
	}
	changed := func(d sandbox.Desired) {
		next.Begun, next.BegunAt = next.Beginning()
		next.Desired = d
		next.Generation++
		next.ChangedAt = f.Now
		next.Reason = "" // whatever a client's command says
		if bound {
			next.Reason = c.Reason
		}
	}
	begins := func() {
		changed(sandbox.Running)
		next.Incarnation++
		next.Begun, next.BegunAt = next.Generation, f.Now
	}
	switch what {
	case creates:
		return sandbox.Effect{Expires: true, Next: &sandbox.Record{
			Name: sandbox.RecordName(c.Tenant, c.SessionID), Tenant: c.Tenant, SessionID: c.SessionID,
			Desired: sandbox.Running, Generation: f.Now.UnixMilli(), Incarnation: 1, Fence: f.Sequence, LastCommand: c.ID,
			Spec: *c.Spec, CreatedAt: f.Now, ChangedAt: f.Now, Begun: f.Now.UnixMilli(), BegunAt: f.Now,
		}}
	case accepts:
		return sandbox.Effect{Next: next}
	case runs:
		begins()
		return sandbox.Effect{Next: next, Expires: true, RotateKey: c.RotateKey}
	case moves:
		changed(sandbox.Running)
		next.Incarnation++
		next.Reason = ""
		return sandbox.Effect{Next: next, Expires: !bound}
	case replaces:
		begins()
		next.Spec = *c.Spec
		return sandbox.Effect{Next: next, Expires: true}
	case renews:
		begins()
		next.RuntimeID, next.Route, next.Spec, next.CreatedAt = "", sandbox.Route{}, *c.Spec, f.Now
		return sandbox.Effect{Next: next, Expires: true}
	case pauses:
		changed(sandbox.Paused)
		return sandbox.Effect{Next: next}
	case stops:
		changed(sandbox.Stopped)
		next.Spec = sandbox.Spec{}
		return sandbox.Effect{Next: next}
	case converges:
		return sandbox.Effect{}
	case purges:
		return sandbox.Effect{Purge: true}
	case drops:
		return sandbox.Effect{Drop: true}
	}
	return sandbox.Effect{Refuse: sandbox.Errorf(sandbox.Code(what), "")}
}

func sameEffect(a, b sandbox.Effect) bool {
	code := sandbox.CodeOf(a.Refuse) == sandbox.CodeOf(b.Refuse)
	a.Refuse, b.Refuse = nil, nil
	return code && reflect.DeepEqual(a, b)
}

func show(e sandbox.Effect) string {
	return fmt.Sprintf("%+v with next %+v", e, e.Next)
}

// deepCopy copies what Clone may have forgotten.
func deepCopy[T any](t *testing.T, p *T) *T {
	t.Helper()
	if p == nil {
		return nil
	}
	return copyValue(reflect.ValueOf(p)).Interface().(*T)
}

func copyValue(v reflect.Value) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	out.Set(v)
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			out.Set(reflect.New(v.Type().Elem()))
			out.Elem().Set(copyValue(v.Elem()))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if out.Field(i).CanSet() {
				out.Field(i).Set(copyValue(v.Field(i)))
			}
		}
	case reflect.Slice:
		if !v.IsNil() {
			out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
			for i := range v.Len() {
				out.Index(i).Set(copyValue(v.Index(i)))
			}
		}
	case reflect.Map:
		if !v.IsNil() {
			out.Set(reflect.MakeMap(v.Type()))
			for k, e := range v.Seq2() {
				out.SetMapIndex(k, copyValue(e))
			}
		}
	}
	return out
}

// spoil changes all that can be reached from p.
func spoil(p any) { spoilValue(reflect.ValueOf(p)) }

func spoilValue(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			spoilValue(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			spoilValue(v.Field(i))
		}
	case reflect.Slice:
		for i := range v.Len() {
			spoilValue(v.Index(i))
		}
	case reflect.Map:
		for k, e := range v.Seq2() {
			spoilValue(e) // what it points to
			v.SetMapIndex(k, reflect.Zero(e.Type()))
		}
	case reflect.String:
		if v.CanSet() {
			v.SetString(v.String() + "!")
		}
	case reflect.Int, reflect.Int64:
		if v.CanSet() {
			v.SetInt(v.Int() + 1)
		}
	case reflect.Uint8, reflect.Uint64:
		if v.CanSet() {
			v.SetUint(v.Uint() + 1)
		}
	}
}

func TestDecideRefusesNonsense(t *testing.T) {
	t.Parallel()
	f := sandbox.Facts{Sequence: 60, Now: at(0)}
	for name, c := range map[string]sandbox.Command{
		"a start without a spec": {Verb: sandbox.Start},
		"an unknown verb":        {Verb: "destroy", RuntimeID: runtimeA},
		"no verb":                {RuntimeID: runtimeA},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, r := range []*sandbox.Record{nil, newRecord()} {
				if e := sandbox.Decide(r, c, f); sandbox.CodeOf(e.Refuse) != sandbox.CodeInvalid || e.Next != nil {
					t.Errorf("%s", show(e))
				}
			}
		})
	}
}

// Without a deadline a command is never late: the provisioner always sets one.
func TestDecideWithoutDeadline(t *testing.T) {
	t.Parallel()
	s := situation{verb: sandbox.Start, fence: 1, late: true}
	c := s.command()
	c.Deadline = time.Time{}
	if e := sandbox.Decide(nil, c, s.facts()); e.Next == nil {
		t.Errorf("%s", show(e))
	}
}

// The generation of a record never goes down, over purge and a new start too;
// its fence neither; a redelivery writes nothing; incarnations are never used
// twice while the record lives.
func TestDecideOverAnyHistory(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		var (
			r          *sandbox.Record
			generation int64
			seq        uint64 = 100
			now               = born
			sent       []sandbox.Command
			sequences  []uint64
		)
		for i := range 200 {
			now = now.Add(time.Duration(rnd.IntN(5000)) * time.Millisecond)
			verb := sandbox.Verbs[rnd.IntN(len(sandbox.Verbs))]
			c := sandbox.Command{
				ID: fmt.Sprint("c", i), Verb: verb, Tenant: "default", SessionID: "s", RotateKey: rnd.IntN(2) == 0,
				Deadline: now.Add(time.Duration(rnd.IntN(30)-5) * time.Second),
			}
			if verb == sandbox.Start {
				c.Spec = &sandbox.Spec{Image: fmt.Sprint("image:", i), ResourceFactor: 1}
			}
			if r != nil {
				c.RuntimeID = r.RuntimeID
				if verb == sandbox.Reconcile || verb == sandbox.Purge || rnd.IntN(4) == 0 {
					c.Generation, c.RecordUID = r.Generation-int64(rnd.IntN(2)), r.UID
				}
			}
			seq++
			at := seq
			if len(sent) > 0 && rnd.IntN(3) == 0 { // one of before comes again
				n := rnd.IntN(len(sent))
				c, at = sent[n], sequences[n]
			} else {
				sent, sequences = append(sent, c), append(sequences, seq)
			}
			e := sandbox.Decide(r, c, sandbox.Facts{Sequence: at, Now: now, Failed: rnd.IntN(3) == 0, Ending: rnd.IntN(3) == 0})
			if e.Purge {
				generation, r = r.Generation, nil
				now = now.Add(sandbox.PurgeAfter)
				continue
			}
			if e.Next == nil {
				continue
			}
			n := e.Next
			if r != nil && !c.Bound() && at <= r.Fence {
				t.Fatalf("seed %d: a redelivery of %s writes", seed, c.Verb)
			}
			if r != nil && (n.Fence < r.Fence || n.Incarnation < r.Incarnation || n.Incarnation > r.Incarnation+1) {
				t.Fatalf("seed %d: from %+v to %+v", seed, r, n)
			}
			if n.Generation < generation {
				t.Fatalf("seed %d: generation %d after %d", seed, n.Generation, generation)
			}
			becomesRunning := n.Desired == sandbox.Running && (r == nil || r.Desired != sandbox.Running)
			if becomesRunning && r != nil && n.Incarnation == r.Incarnation {
				t.Fatalf("seed %d: runs again under incarnation %d", seed, n.Incarnation)
			}
			if same := r != nil && n.Desired == r.Desired && n.Incarnation == r.Incarnation; same != (r != nil && n.Generation == r.Generation) {
				t.Fatalf("seed %d: generation %d to %d, %s to %s", seed, r.Generation, n.Generation, r.Desired, n.Desired)
			}
			if n.RuntimeID == "" { // the shell mints
				n.RuntimeID = strings.Repeat(string(rune('a'+i%26)), 16)
			}
			n.UID = "uid"
			r, generation = n, n.Generation
		}
	}
}

// A start that was accepted, and whose record the watcher or the provisioner
// itself changed since, is not answered with what it did not want.
func TestRedeliveredStartOfWhatWasPausedSince(t *testing.T) {
	t.Parallel()
	for _, d := range []sandbox.Desired{sandbox.Paused, sandbox.Stopped} {
		s := situation{verb: sandbox.Start, state: 1}
		if e := sandbox.Decide(newRecord(desired(d)), s.command(), s.facts()); sandbox.CodeOf(e.Refuse) != sandbox.CodeOvertaken {
			t.Errorf("%s: %s", d, show(e))
		}
	}
}
