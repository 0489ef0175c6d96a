// Package report writes what was measured: as JSON, as text, and as SVG.
package report

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/sandbar-io/sandbar/tools/loadgen/internal/figure"
)

// Report is one run.
type Report struct {
	Begun      time.Time   `json:"begun"`
	Ended      time.Time   `json:"ended"`
	Machine    Machine     `json:"machine"`
	Benchmarks []Benchmark `json:"benchmarks"`
}

// Benchmark is what came of one benchmark.
type Benchmark struct {
	Name    string   `json:"name"`
	What    string   `json:"what"`
	Limit   string   `json:"limit"`
	Cases   []Judged `json:"cases,omitempty"`
	Error   string   `json:"error,omitempty"` // why it could not be measured
	Seconds float64  `json:"seconds"`
	Load1   float64  `json:"load_average_at_its_end"`
}

// Judged is a case with its verdicts and its latencies over all rounds.
type Judged struct {
	figure.Case
	Verdicts []figure.Verdict   `json:"verdicts"`
	Ours     map[string]float64 `json:"ours_ms_by_percentile,omitempty"`
	Limit    map[string]float64 `json:"limit_ms_by_percentile,omitempty"`
	hists    [2]*histogram      // ours, the limit
}

type histogram = hdrhistogram.Histogram

// Judge judges a case.
func Judge(c figure.Case) Judged {
	j := Judged{Case: c, Verdicts: c.Verdicts()}
	for _, r := range c.Rounds {
		j.hists[0], j.hists[1] = merge(j.hists[0], r.Ours.Hist), merge(j.hists[1], r.Limit.Hist)
	}
	j.Ours, j.Limit = percentiles(j.hists[0]), percentiles(j.hists[1])
	return j
}

func merge(into, from *histogram) *histogram {
	if from == nil {
		return into
	}
	if into == nil {
		return hdrhistogram.Import(from.Export())
	}
	into.Merge(from)
	return into
}

func percentiles(h *histogram) map[string]float64 {
	if h == nil {
		return nil
	}
	out := map[string]float64{}
	for _, p := range []float64{50, 90, 99, 99.9, 100} {
		out[fmt.Sprintf("p%g", p)] = float64(h.ValueAtQuantile(p)) / float64(time.Millisecond)
	}
	return out
}

// Missed counts the bounds that were not reached, and the benchmarks that could
// not be measured.
func (r Report) Missed() (bounds, broken int) {
	for _, b := range r.Benchmarks {
		if b.Error != "" {
			broken++
		}
		for _, c := range b.Cases {
			for _, v := range c.Verdicts {
				if !v.Reached {
					bounds++
				}
			}
		}
	}
	return bounds, broken
}

// Write writes report.json, report.txt and the plots into dir.
func (r Report) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	old, err := filepath.Glob(filepath.Join(dir, "*.svg"))
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	for _, f := range old {
		if err := os.Remove(f); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	files := map[string][]byte{"report.json": append(raw, '\n'), "report.txt": []byte(r.Text())}
	for _, b := range r.Benchmarks {
		for _, c := range b.Cases {
			if svg := plot(b.Name+": "+c.Name, c); svg != nil {
				files[fileName(b.Name+"-"+c.Name)+".svg"] = svg
			}
		}
	}
	for name, raw := range files {
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o644); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	return nil
}

// fileName makes a file's name of any text.
func fileName(s string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(s)), "-")
}

// Text is the report for people.
func (r Report) Text() string {
	var out strings.Builder
	fmt.Fprintf(&out, "Sandbar, measured %s, %s\n%s\n", r.Begun.UTC().Format(time.RFC3339), r.Ended.Sub(r.Begun).Round(time.Second), r.Machine)
	out.WriteString("Each figure stands beside its limit, measured in turn in the same run; ratios are medians over the rounds.\n")
	for _, b := range r.Benchmarks {
		fmt.Fprintf(&out, "\n%s: %s\n  limit: %s\n", b.Name, b.What, b.Limit)
		if b.Error != "" {
			fmt.Fprintf(&out, "  NOT MEASURED: %s\n", b.Error)
		}
		t := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
		for _, c := range b.Cases {
			for _, v := range c.Verdicts {
				word := "reached"
				if !v.Reached {
					word = "MISSED"
				}
				unit := figure.Units[v.Value]
				fmt.Fprintf(t, "  %s\t%s\t%s %s\tlimit %s %s\t%.2f ×\twant %s\t%s\tratios %s\n",
					c.Name, v.Value, number(v.Ours), unit, number(v.Limit), unit, v.Ratio, v.Bound, word, spread(v.Ratios))
			}
		}
		_ = t.Flush() // into memory
		for _, c := range b.Cases {
			if n, why := c.Failed(); n > 0 {
				fmt.Fprintf(&out, "  %s: %d failed: %s\n", c.Name, n, why)
			}
			if c.Note != "" {
				fmt.Fprintf(&out, "  %s: %s\n", c.Name, c.Note)
			}
		}
	}
	bounds, broken := r.Missed()
	fmt.Fprintf(&out, "\n%d bounds missed, %d benchmarks not measured\n", bounds, broken)
	return out.String()
}

func number(f float64) string {
	if f >= 100 {
		return fmt.Sprintf("%.0f", f)
	}
	return fmt.Sprintf("%.3g", f)
}

func spread(all []float64) string {
	var s []string
	for _, f := range all {
		s = append(s, fmt.Sprintf("%.2f", f))
	}
	return strings.Join(s, " ")
}
