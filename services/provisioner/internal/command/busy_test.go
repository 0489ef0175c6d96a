package command_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/cluster"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/command"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/quota"
)

var (
	errNoTime = fmt.Errorf("get: %w", &cluster.Busy{After: 3 * time.Second, Undone: true})
	// errPerhaps is a write's 503: a proxy may have passed it on.
	errPerhaps = fmt.Errorf("patch: %w", &cluster.Busy{After: 3 * time.Second})
)

// state is all that a command changes.
func (b *bench) state() string {
	b.fake.mu.Lock()
	defer b.fake.mu.Unlock()
	var held []any
	for _, l := range b.ledgers {
		var ledger quota.Ledger
		if err := json.Unmarshal(l, &ledger); err != nil {
			b.t.Error(err)
		}
		old := b.now().Add(-time.Minute).UnixMilli() // counts no more
		starts := slices.DeleteFunc(ledger.Starts, func(s quota.Start) bool { return s.At <= old })
		if len(ledger.Places)+len(starts) > 0 {
			held = append(held, ledger.Places, starts)
		}
	}
	body, err := json.Marshal([]any{b.records, b.pods, b.objects, held})
	if err != nil {
		b.t.Error(err)
	}
	return string(body)
}

// Wherever Kubernetes has no time before the record is written, nothing is left
// of the attempt, and it says so. The next attempt goes as ever.
func TestBusyBeforeAnythingIsWritten(t *testing.T) {
	t.Parallel()
	limits := &sandbox.Limits{Key: "key", Sandboxes: 2, StartsPerMinute: 2}
	for _, tt := range []struct {
		from situation
		verb sandbox.Verb
		kind string
	}{
		{none, sandbox.Start, getRecord},
		{none, sandbox.Start, createRecord},
		{none, sandbox.Start, getLedger},
		{none, sandbox.Start, swapLedger},
		{running, sandbox.Start, getRecord},
		{running, sandbox.Start, getPod},
		{running, sandbox.Start, updateRecord},
		{failed, sandbox.Resume, getPod},
		{failed, sandbox.Start, updateRecord},
		{ending, sandbox.Start, getPod},
		{paused, sandbox.Resume, getRecord},
		{paused, sandbox.Resume, getLedger},
		{paused, sandbox.Resume, swapLedger},
		{paused, sandbox.Resume, updateRecord},
		{stopped, sandbox.Start, updateRecord},
		{running, sandbox.Pause, getRecord},
		{running, sandbox.Pause, updateRecord},
		{running, sandbox.Stop, getRecord},
		{running, sandbox.Stop, updateRecord},
		{none, sandbox.Stop, getRecord},
	} {
		t.Run(fmt.Sprint(tt.verb, " when ", tt.from, ", ", tt.kind), func(t *testing.T) {
			t.Parallel()
			b := inSituationOf(t, tt.from, limits)
			was := b.state()
			b.before[tt.kind] = func(n int) error {
				if n == 1 {
					return errNoTime
				}
				return nil
			}
			c, seq := b.command(tt.verb)
			out, err := b.Run(t.Context(), c, seq)
			var busy *command.Busy
			if !errors.As(err, &busy) || busy.After != 3*time.Second || out.Err != nil || out.View != nil {
				t.Fatalf("%v, %+v", err, out)
			}
			if now := b.state(); now != was {
				t.Errorf("it left\n%s\nof\n%s", now, was)
			}
			b.forget()
			if out, err := b.Run(t.Context(), c, seq); err != nil || out.Err != nil && tt.from != none {
				t.Errorf("later: %v, %+v", err, out)
			}
		})
	}
}

// Where anything was written, or may have been, the command is tried again: its
// sender must not be told that nothing was done.
func TestBusyAfterSomethingWasWritten(t *testing.T) {
	t.Parallel()
	limits := &sandbox.Limits{Key: "key", Sandboxes: 2}
	moved := func(n int) error {
		if n == 1 {
			return cluster.ErrMoved
		}
		return nil
	}
	second := func(n int) error {
		if n == 2 {
			return errNoTime
		}
		return nil
	}
	from := func(first int, err error) fault {
		return func(n int) error {
			if n >= first {
				return err
			}
			return nil
		}
	}
	for name, tt := range map[string]struct {
		from   situation
		verb   sandbox.Verb
		before map[string]fault
		after  map[string]fault
	}{
		"a volume":                                {none, sandbox.Start, map[string]fault{createVolume: always(errNoTime)}, nil},
		"a pod":                                   {none, sandbox.Start, map[string]fault{createPod: always(errNoTime)}, nil},
		"a route":                                 {paused, sandbox.Resume, map[string]fault{createRoute: always(errNoTime)}, nil},
		"a pod to go":                             {running, sandbox.Stop, map[string]fault{deletePod: always(errNoTime)}, nil},
		"the list of pods":                        {older, sandbox.Pause, map[string]fault{listPods: always(errNoTime)}, nil},
		"a look at the pods":                      {running, sandbox.Pause, map[string]fault{getPod: always(errNoTime)}, nil},
		"a look at the volume":                    {running, sandbox.Stop, map[string]fault{getObjects: always(errNoTime)}, nil},
		"a place that is given back":              {running, sandbox.Pause, map[string]fault{getLedger: always(errNoTime)}, nil},
		"a record that may have been made":        {none, sandbox.Start, map[string]fault{createRecord: always(errPerhaps)}, nil},
		"a record that was made, and a 503":       {none, sandbox.Start, nil, map[string]fault{createRecord: always(errPerhaps)}},
		"a record that may have been changed":     {running, sandbox.Pause, map[string]fault{updateRecord: always(errPerhaps)}, nil},
		"a ledger that may have been changed":     {none, sandbox.Start, map[string]fault{swapLedger: always(errPerhaps)}, nil},
		"the record, after it moved":              {running, sandbox.Pause, map[string]fault{updateRecord: moved, getRecord: second}, nil},
		"a record found after a create that hung": {none, sandbox.Start, map[string]fault{createRecord: moved, getRecord: second}, nil},
		"a place that cannot be given back":       {none, sandbox.Start, map[string]fault{createRecord: always(errNoTime), getLedger: from(2, errNoTime)}, nil},
		"a command that was overtaken":            {running, sandbox.Start, map[string]fault{createPod: always(errNoTime)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := inSituationOf(t, tt.from, limits)
			maps.Copy(b.before, tt.before)
			maps.Copy(b.after, tt.after)
			c, seq := b.command(tt.verb)
			if name == "a command that was overtaken" {
				seq = 1
			}
			_, err := b.Run(t.Context(), c, seq)
			var busy *command.Busy
			if err == nil || errors.As(err, &busy) {
				t.Fatalf("%v", err)
			}
			if command.RetryAfter(err) != 3*time.Second {
				t.Errorf("%v: again after %s", err, command.RetryAfter(err))
			}
			b.forget()
			if out, err := b.Run(t.Context(), c, seq); err != nil || out.Err != nil {
				t.Errorf("later: %v, %v", err, out.Err)
			}
		})
	}
}

func TestOtherErrorsAreNotBusy(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.before[getRecord] = always(errDown)
	c, seq := b.command(sandbox.Start)
	_, err := b.Run(t.Context(), c, seq)
	var busy *command.Busy
	if !errors.Is(err, errDown) || errors.As(err, &busy) || command.RetryAfter(err) != 0 {
		t.Errorf("%v", err)
	}
}
