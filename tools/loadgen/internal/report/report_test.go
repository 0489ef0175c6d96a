package report_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/loadgen/internal/figure"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/load"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/report"
)

func latency(ms int) figure.Sample {
	s := figure.Sample{Values: map[string]float64{figure.P50: float64(ms)}, Hist: load.NewHistogram()}
	load.Record(s.Hist, time.Duration(ms)*time.Millisecond)
	return s
}

func example() report.Report {
	bound := []figure.Bound{{Value: figure.P50, AtMost: 3}}
	return report.Report{
		Begun: time.Unix(1e9, 0), Ended: time.Unix(1e9+60, 0),
		Benchmarks: []report.Benchmark{
			{Name: "start-stub", What: "POST /start", Limit: "a publish", Cases: []report.Judged{
				report.Judge(figure.Case{Name: "300/s <&>", Bounds: bound, Rounds: []figure.Round{{Ours: latency(4), Limit: latency(2)}, {Ours: latency(8), Limit: latency(2)}, {Ours: latency(12), Limit: latency(2)}}}),
				report.Judge(figure.Case{Name: "times", Bounds: []figure.Bound{{Value: figure.Time, AtMost: 1.5}}, Rounds: []figure.Round{{Ours: figure.Took(time.Second), Limit: figure.Took(time.Second)}}}),
			}},
			{Name: "takeover", What: "a death", Limit: "AckWait", Error: "no stack"},
		},
	}
}

func TestReportIsWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := example()
	old := filepath.Join(dir, "of-an-earlier-run.svg")
	if err := os.WriteFile(old, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.Write(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the plot of an earlier run is still there: %v", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "report.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"8 ms", "4.00 ×", "want ≤ 3 ×", "MISSED", "1.00 ×", "reached", "NOT MEASURED: no stack", "1 bounds missed, 1 benchmarks not measured"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back report.Report
	if err := json.Unmarshal(raw, &back); err != nil || back.Benchmarks[0].Cases[0].Verdicts[0].Ratio != 4 {
		t.Errorf("report.json: %v", err)
	}
	for _, name := range []string{"start-stub-300-s.svg", "start-stub-times.svg"} {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		defer f.Close()
		for d := xml.NewDecoder(f); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Errorf("%s: %v", name, err)
				break
			}
		}
	}
}
