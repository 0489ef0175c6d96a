package sandbox_test

import (
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

func TestLimits(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		limits *sandbox.Limits
		wrong  string
		holder string
	}{
		"none":             {nil, "", ""},
		"nothing bounded":  {&sandbox.Limits{Key: "k"}, "", ""},
		"the rate only":    {&sandbox.Limits{Key: "k", StartsPerMinute: 1}, "", ""},
		"sandboxes":        {&sandbox.Limits{Key: "k", Sandboxes: sandbox.MaxHeld}, "", "k"},
		"cpu":              {&sandbox.Limits{Key: "k", CPU: 1}, "", "k"},
		"memory":           {&sandbox.Limits{Key: "k", Memory: sandbox.MaxAmount}, "", "k"},
		"no key":           {&sandbox.Limits{Sandboxes: 1}, "name", ""},
		"a long key":       {&sandbox.Limits{Key: strings.Repeat("k", 65), Sandboxes: 1}, "name", ""},
		"negative":         {&sandbox.Limits{Key: "k", Memory: -1}, "negative", ""},
		"many sandboxes":   {&sandbox.Limits{Key: "k", Sandboxes: sandbox.MaxHeld + 1}, "sandboxes", ""},
		"many starts":      {&sandbox.Limits{Key: "k", StartsPerMinute: sandbox.MaxStarts + 1}, "starts_per_minute", ""},
		"more than counts": {&sandbox.Limits{Key: "k", CPU: sandbox.MaxAmount + 1}, "counted", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tt.limits.Validate()
			if (err == nil) != (tt.wrong == "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("%v, want %q", err, tt.wrong)
			}
			if err == nil && tt.limits.Holder() != tt.holder {
				t.Errorf("holder %q, want %q", tt.limits.Holder(), tt.holder)
			}
		})
	}
	// What the largest ledger adds up fits.
	if sum := int64(2*sandbox.MaxHeld) * sandbox.MaxAmount; sum/(2*sandbox.MaxHeld) != sandbox.MaxAmount {
		t.Error("a full ledger overflows")
	}
}

// Who is charged after a command, and whether that needs a place.
func TestHolder(t *testing.T) {
	t.Parallel()
	mine, rate := &sandbox.Limits{Key: "mine", Sandboxes: 1}, &sandbox.Limits{Key: "rate", StartsPerMinute: 1}
	for name, tt := range map[string]struct {
		verb   sandbox.Verb
		from   string // state of the record
		held   string // by whom it is
		limits *sandbox.Limits
		holder string
		place  string // "" where the shell mints one
		takes  bool
		counts bool
	}{
		"a new one":                       {sandbox.Start, "none", "", mine, "mine", "", true, false},
		"a new one without limits":        {sandbox.Start, "none", "", nil, "", "", false, false},
		"a new one, the rate is bounded":  {sandbox.Start, "none", "", rate, "", "", true, false},
		"a paused one of another":         {sandbox.Resume, "paused", "theirs", mine, "mine", "", true, false},
		"a paused one without limits":     {sandbox.Start, "paused", "theirs", nil, "", "", false, false},
		"a failed one of its own":         {sandbox.Start, "failed", "mine", mine, "mine", "", true, false},
		"a stopped one":                   {sandbox.Start, "stopped", "theirs", mine, "mine", "", true, false},
		"one that runs":                   {sandbox.Start, "running", "mine", mine, "mine", "place", false, true},
		"one that runs for another":       {sandbox.Resume, "running", "theirs", mine, "theirs", "place", false, false},
		"one that runs and is not held":   {sandbox.Resume, "running", "", mine, "mine", "", false, true},
		"its own, whose pod is ending":    {sandbox.Start, "ending", "mine", mine, "mine", "place", false, true},
		"another's, whose pod is ending":  {sandbox.Start, "ending", "theirs", mine, "theirs", "place", false, false},
		"nobody's, whose pod is ending":   {sandbox.Resume, "ending", "", mine, "mine", "", false, true},
		"ending, without limits":          {sandbox.Resume, "ending", "theirs", nil, "theirs", "place", false, false},
		"one that runs, rate only":        {sandbox.Start, "running", "", rate, "", "", false, false},
		"one that runs, without limits":   {sandbox.Start, "running", "theirs", nil, "theirs", "place", false, false},
		"a pause keeps who is charged":    {sandbox.Pause, "running", "theirs", nil, "theirs", "place", false, false},
		"a stop keeps who is charged":     {sandbox.Stop, "paused", "theirs", nil, "theirs", "place", false, false},
		"a pause asks for nothing itself": {sandbox.Pause, "running", "", mine, "", "", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := situation{verb: tt.verb, fence: 1}
			for i := range states {
				if states[i] == tt.from {
					s.state = i
				}
			}
			r, c := s.record(), s.command()
			if r != nil && tt.held != "" {
				r.Holder, r.Place = tt.held, "place"
			}
			c.Limits = tt.limits
			e := sandbox.Decide(r, c, s.facts())
			if e.Next == nil || e.Next.Holder != tt.holder || e.Next.Place != tt.place || e.Takes != tt.takes || e.Counts != tt.counts {
				t.Errorf("%s", show(e))
			}
		})
	}
}
