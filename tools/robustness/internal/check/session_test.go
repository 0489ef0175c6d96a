package check_test

import (
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/robustness/internal/check"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/history"
)

const (
	a, b = "gateway-0/0", "gateway-1/0"
	x, y = "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"
)

// ms are times of hand-made histories.
func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// did is an acknowledged change of the session s, from begin to end.
func did(verb history.Verb, id, gateway string, begin, end int) history.Op {
	o := history.Op{
		Client: "changer-0", Gateway: gateway, Verb: verb, Tenant: "default", Session: "s",
		Invoked: ms(begin), Returned: ms(end), Outcome: history.OK, HTTP: 200,
	}
	if verb == history.Start {
		o.Seen = []history.Seen{{Session: "s", RuntimeID: id, Status: "starting", PodStatus: "pending"}}
		return o
	}
	o.RuntimeID = id
	return o
}

// tried is a change that nobody answered.
func tried(verb history.Verb, id, gateway string, begin, end int) history.Op {
	o := did(verb, id, gateway, begin, end)
	o.Outcome, o.HTTP, o.Seen = history.Unknown, 504, nil
	return o
}

// saw is a read of the session s; without a status it is not there.
func saw(verb history.Verb, id, status, gateway string, begin, end int) history.Op {
	o := history.Op{
		Client: "reader-0", Gateway: gateway, Verb: verb, Tenant: "default", Session: "s",
		Invoked: ms(begin), Returned: ms(end), Outcome: history.OK, HTTP: 200,
	}
	if verb == history.Runtime {
		o.RuntimeID = id
	}
	if status == "" && (verb == history.Session || verb == history.Runtime) {
		o.Outcome, o.HTTP = history.Absent, 404
		return o
	}
	o.Seen = []history.Seen{{Session: "s", RuntimeID: id, Status: status, PodStatus: "ready", Absent: status == ""}}
	return o
}

func TestSessions(t *testing.T) {
	t.Parallel()
	start := did(history.Start, x, a, 0, 100)
	long := history.Fault{Kind: "nats-killed", Begin: ms(150), Healed: ms(2000), Calm: ms(3000)}
	for name, c := range map[string]struct {
		ops    []history.Op
		faults []history.Fault
		want   string // the only invariant that is broken; "": none
	}{
		"a life": {ops: []history.Op{
			saw(history.Session, "", "", b, 0, 20),
			start, saw(history.Session, x, "running", a, 110, 120), saw(history.List, x, "running", b, 500, 510),
			did(history.Pause, x, b, 600, 700), saw(history.Session, x, "paused", b, 710, 720), saw(history.List, "", "", a, 1000, 1010),
			did(history.Resume, x, a, 1100, 1200), saw(history.Runtime, x, "starting", a, 1210, 1220),
			did(history.Stop, x, a, 1300, 1400), saw(history.Session, x, "stopped", a, 1410, 1420), saw(history.Session, "", "", b, 1410, 1420),
			did(history.Start, y, b, 1500, 1600), saw(history.Session, y, "starting", a, 2000, 2010), saw(history.Runtime, x, "", a, 2000, 2010),
		}},
		"gone after it was acknowledged, on another gateway": {
			ops: []history.Op{start, saw(history.Session, "", "", b, 101, 110)}, want: check.Exists,
		},
		"gone though there was a fault": {
			ops: []history.Op{start, saw(history.Session, "", "", b, 1000, 1010)}, faults: []history.Fault{long}, want: check.Exists,
		},
		"null in a batch":     {ops: []history.Op{start, saw(history.Batch, "", "", b, 101, 110)}, want: check.Exists},
		"not in a list":       {ops: []history.Op{start, saw(history.List, "", "", b, 101, 110)}, want: check.Exists},
		"its id is not there": {ops: []history.Op{start, saw(history.Runtime, x, "", b, 101, 110)}, want: check.Exists},
		"stopped, and nobody stopped it": {
			ops: []history.Op{start, saw(history.Session, x, "stopped", b, 101, 110)}, want: check.Exists,
		},
		"a paused one is in no list": {ops: []history.Op{start, did(history.Pause, x, a, 200, 300), saw(history.List, "", "", b, 310, 320)}},
		"a list that is aged says nothing": {ops: []history.Op{start, func() history.Op {
			o := saw(history.List, "", "", b, 101, 110)
			o.Aged = true
			return o
		}()}},
		"not shown by the gateway that answered": {
			ops: []history.Op{start, did(history.Pause, x, a, 200, 300), saw(history.Session, x, "running", a, 301, 310)}, want: check.Visible,
		},
		"not shown by another one yet": {
			ops: []history.Op{start, did(history.Pause, x, a, 200, 300), saw(history.Session, x, "running", b, 500, 510)},
		},
		"not shown by another one in time": {
			ops: []history.Op{start, did(history.Pause, x, a, 200, 300), saw(history.Session, x, "running", b, 600, 610)}, want: check.Visible,
		},
		"not shown by another one during a fault": {
			ops:    []history.Op{start, did(history.Pause, x, a, 200, 300), saw(history.Session, x, "running", b, 2900, 2910)},
			faults: []history.Fault{long},
		},
		"not shown by another one after the fault": {
			ops:    []history.Op{start, did(history.Pause, x, a, 200, 300), saw(history.Session, x, "running", b, 3300, 3310)},
			faults: []history.Fault{long}, want: check.Visible,
		},
		"shown while it is under way": {
			ops: []history.Op{start, saw(history.Session, x, "paused", b, 250, 260), did(history.Pause, x, a, 200, 300)},
		},
		"an unknown pause may have happened or not": {ops: []history.Op{
			start, tried(history.Pause, x, a, 200, 300), saw(history.Session, x, "running", b, 900, 910), saw(history.Session, x, "paused", b, 1000, 1010),
		}},
		"an unknown stop may have happened": {ops: []history.Op{start, tried(history.Stop, x, a, 200, 300), saw(history.Session, "", "", b, 310, 320)}},
		"an unknown start may have": {ops: []history.Op{
			tried(history.Start, "", a, 0, 100), saw(history.Session, "", "", b, 110, 120), saw(history.Session, y, "running", b, 210, 220),
		}},
		"what came after an unknown one counts": {ops: []history.Op{
			start, tried(history.Stop, x, a, 200, 300), did(history.Start, y, a, 400, 500), saw(history.Session, "", "", b, 510, 520),
		}, want: check.Exists},
		"an unknown one may be late where a fault held it": {
			ops: []history.Op{
				start, tried(history.Stop, x, a, 200, 300), did(history.Start, x, b, 400, 500), saw(history.Session, "", "", b, 4000, 4010),
			},
			faults: []history.Fault{long},
		},
		"a stop of an id that is gone leaves the start that nobody heard of": {ops: []history.Op{
			start, did(history.Stop, x, a, 200, 300), tried(history.Start, "", a, 400, 500), did(history.Stop, x, a, 600, 700), saw(history.Session, y, "running", a, 800, 810),
		}},
		"shown though nobody asked for it": {ops: []history.Op{saw(history.Session, x, "running", a, 0, 10)}, want: check.Visible},
		"another's id": {
			ops: []history.Op{start, saw(history.Session, y, "running", a, 110, 120)}, want: check.Visible,
		},
		"a view goes back": {ops: []history.Op{
			start, did(history.Pause, x, a, 200, 300), saw(history.Session, x, "paused", b, 310, 320), saw(history.Session, x, "running", b, 330, 340),
		}, want: check.NeverBack},
		"two answers that cross": {ops: []history.Op{
			start, did(history.Pause, x, a, 200, 300), saw(history.Session, x, "paused", b, 310, 340), saw(history.Session, x, "running", b, 330, 335),
		}},
		"another process may be behind": {ops: []history.Op{
			start, did(history.Pause, x, a, 200, 300), saw(history.Session, x, "paused", b, 310, 320), saw(history.Session, x, "running", "gateway-2/0", 330, 340),
		}},
		"resumed is newer than running": {ops: []history.Op{
			start, did(history.Pause, x, a, 200, 300), did(history.Resume, x, a, 400, 500),
			saw(history.Session, x, "paused", b, 510, 520), saw(history.Session, x, "running", b, 530, 540),
		}},
		"a second sandbox": {ops: []history.Op{start, did(history.Start, y, b, 200, 300)}, want: check.OneID},
		"two starts at once, two sandboxes": {
			ops: []history.Op{start, did(history.Start, y, b, 50, 90)}, want: check.OneID,
		},
		"two starts at once, one sandbox": {ops: []history.Op{start, did(history.Start, x, b, 50, 90)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			only(t, check.History(&history.History{Ops: c.ops, Faults: c.faults}).Violations, c.want)
		})
	}
}

// only: this invariant is broken and no other, and the piece shows it.
func only(t *testing.T, found []check.Violation, want string) {
	t.Helper()
	if want == "" && len(found) > 0 {
		t.Fatalf("found %+v, want nothing", found)
	}
	if want != "" && len(found) == 0 {
		t.Fatalf("found nothing, want %q", want)
	}
	for _, v := range found {
		if v.Invariant != want || len(v.Piece) == 0 || v.Text == "" {
			t.Errorf("found %+v, want %q", v, want)
		}
	}
}

// TestSlowMachine: in a moment in which the machine was slow nothing is called
// late.
func TestSlowMachine(t *testing.T) {
	t.Parallel()
	h := &history.History{
		Ops: []history.Op{did(history.Start, x, a, 0, 100), did(history.Pause, x, a, 200, 300), saw(history.Session, x, "running", b, 600, 610)},
	}
	only(t, check.History(h).Violations, check.Visible)
	if r := check.History(h); r.Reads != 1 || r.Fresh != 1 {
		t.Errorf("%d reads, %d of them fresh, want one that had to show the change", r.Reads, r.Fresh)
	}
	h.Pulses = []history.Pulse{{At: ms(450), Late: ms(80), What: "timer"}}
	only(t, check.History(h).Violations, "")
	if r := check.History(h); r.Fresh != 0 {
		t.Errorf("%d reads had to show a change on a slow machine", r.Fresh)
	}
}

// TestAnswered: a few that end unknown without a fault are the machine's, many are not.
func TestAnswered(t *testing.T) {
	t.Parallel()
	fault := history.Fault{Kind: "kill", Begin: ms(0), Healed: ms(500), Calm: ms(900)}
	for name, c := range map[string]struct {
		unknown, ok int
		at          int
		want        string
	}{
		"none":                {0, 500, 1000, ""},
		"a few":               {20, 0, 1000, ""},
		"many, in a fault":    {100, 0, 800, ""},
		"many":                {21, 100, 1000, check.Answered},
		"not many of so many": {21, 500, 1000, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &history.History{Faults: []history.Fault{fault}}
			for range c.ok {
				h.Ops = append(h.Ops, saw(history.Session, "", "", a, c.at, c.at+50))
			}
			for range c.unknown {
				o := saw(history.Session, "", "", a, c.at, c.at+50)
				o.Outcome, o.HTTP = history.Unknown, 503
				h.Ops = append(h.Ops, o)
			}
			only(t, check.History(h).Violations, c.want)
		})
	}
}
