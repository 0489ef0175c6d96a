package soak_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/robustness/internal/history"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/soak"
)

const mib = 1 << 20

// run is a made-up run: a sample every 10 s of processes that live so long each
// (for ever where life is 0), and what they hold.
func run(length, life time.Duration, figure history.Figure, held func(at, age time.Duration) int64) (out []history.Sample) {
	for at := time.Duration(0); at <= length; at += 10 * time.Second {
		age := at
		if life > 0 {
			age = at % life
		}
		out = append(out, history.Sample{
			At: at, Kind: "gateway", Name: "gateway-0", Age: age, Figures: map[history.Figure]int64{figure: held(at, age)},
		})
	}
	return out
}

func minutes(d time.Duration) int64 { return int64(d / time.Minute) }

// wobble is what traffic does to a figure.
func wobble(at time.Duration) int64 { return int64(at/(10*time.Second)) * 7 % 11 }

func TestJudge(t *testing.T) {
	t.Parallel()
	const hour = time.Hour
	for name, c := range map[string]struct {
		length, life time.Duration
		figure       history.Figure
		held         func(at, age time.Duration) int64
		want         string // in the problem; "": flat
	}{
		"flat": {length: hour, figure: history.Goroutines, held: func(at, _ time.Duration) int64 { return 40 + wobble(at) }},
		"a warm up": {length: hour, figure: history.Memory, held: func(at, _ time.Duration) int64 {
			return min(30*mib+minutes(at)*10*mib, 120*mib)
		}},
		"one that is restarted, and small when young": {length: hour, life: 4 * time.Minute, figure: history.Memory, held: func(_, age time.Duration) int64 {
			return 30*mib + min(minutes(age), 2)*5*mib
		}},
		"one goroutine a minute": {
			length: hour, figure: history.Goroutines, held: func(at, _ time.Duration) int64 { return 40 + wobble(at) + minutes(at) },
			want: "goroutines of gateway grow over the run",
		},
		"a leak that restarts hide": {
			length: hour, life: 10 * time.Minute, figure: history.Goroutines,
			held: func(at, age time.Duration) int64 { return 40 + wobble(at) + int64(age/(10*time.Second)) },
			want: "goroutines of gateway grow with the age of the process",
		},
		"consumers that nobody takes away": {
			length: hour, life: 3 * time.Minute, figure: history.Consumers,
			held: func(at, _ time.Duration) int64 { return 8 + minutes(at) },
			want: "consumers of gateway grow over the run",
		},
		"2 MiB a minute": {
			length: hour, figure: history.Memory, held: func(at, _ time.Duration) int64 { return 40*mib + 2*mib*minutes(at) },
			want: "memory of gateway grow over the run",
		},
		"files":             {length: hour, figure: history.Files, held: func(at, _ time.Duration) int64 { return 20 + minutes(at) }, want: "files of gateway grow"},
		"just long enough":  {length: soak.Shortest, figure: history.Files, held: func(at, _ time.Duration) int64 { return 5 * minutes(at) }, want: "grow"},
		"a spike that goes": {length: hour, figure: history.Connections, held: func(at, _ time.Duration) int64 { return 10 + 100*(wobble(at)/10) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := soak.Judge(run(c.length, c.life, c.figure, c.held))
			if len(got) != 1 || !got[0].Judged || got[0].Figure != c.figure {
				t.Fatalf("%+v, want one series that was judged", got)
			}
			if p := got[0].Problem; (p == "") != (c.want == "") || !strings.Contains(p, c.want) {
				t.Errorf("%q, want %q in it: %+v", p, c.want, got[0])
			}
		})
	}
}

// TestShortRunsAreShown, and not judged.
func TestShortRunsAreShown(t *testing.T) {
	t.Parallel()
	got := soak.Judge(run(3*time.Minute, 0, history.Files, func(at, _ time.Duration) int64 { return int64(at / time.Second) }))
	if len(got) != 1 || got[0].Judged || got[0].Problem != "" {
		t.Fatalf("%+v, want one series that was not judged", got)
	}
	if s := got[0]; s.First != 0 || s.Last != 180 || s.Highest != 180 || s.Median != 90 || s.Samples != 19 {
		t.Errorf("%+v", s)
	}
	if got := soak.Judge(nil); got != nil {
		t.Errorf("%+v of nothing", got)
	}
}

// TestTooFewSamples: a run that could not look says nothing, and must not pass.
func TestTooFewSamples(t *testing.T) {
	t.Parallel()
	all := run(time.Hour, 0, history.Files, func(time.Duration, time.Duration) int64 { return 20 })
	got := soak.Judge([]history.Sample{all[0], all[len(all)-1]})
	if len(got) != 1 || !strings.Contains(got[0].Problem, "too few") {
		t.Errorf("%+v", got)
	}
}
