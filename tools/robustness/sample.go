package robustness

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/internal/process"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/history"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/plan"
)

// sample records what every process holds. One that cannot be asked is told and
// left out: the judge sees how many samples there are.
func (w *world) sample(ctx context.Context) {
	for _, name := range append(w.Names(), "nats") {
		s, err := w.sampleOf(ctx, name)
		if err != nil {
			w.Log("no sample of %s: %v", name, err)
			continue
		}
		w.recorder.Add(history.Entry{Sample: &s})
	}
}

func (w *world) sampleOf(ctx context.Context, name string) (s history.Sample, err error) {
	s = history.Sample{At: w.recorder.Now(), Kind: plan.KindOf(name), Name: name, Figures: map[history.Figure]int64{}}
	if s.Pid, err = w.Pid(name); err != nil {
		return s, err
	}
	if s.Age, err = age(s.Pid); err != nil {
		return s, err
	}
	if s.Figures[history.Memory], err = memory(s.Pid); err != nil {
		return s, err
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.Pid))
	if err != nil {
		return s, err
	}
	s.Figures[history.Files] = int64(len(files))
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if name == "nats" {
		return s, w.held(ctx, s.Figures)
	}
	// One that leads does all the work and holds more than its standby does: they
	// are two kinds, or a change of the lead would look like a leak.
	said, _, err := w.state(ctx, name)
	if err != nil {
		return s, err
	}
	if said.Role != "" {
		s.Kind += "-" + said.Role
	}
	s.Figures[history.Goroutines], err = w.goroutines(ctx, name)
	return s, err
}

// ticks is how the kernel counts time for programs, on every platform that Go has.
const ticks = 100 // a second

func age(pid int) (time.Duration, error) {
	id, err := process.Of(pid)
	if err != nil {
		return 0, err
	}
	raw, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(raw), " ")
	up, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0, fmt.Errorf("/proc/uptime: %w", err)
	}
	return time.Duration((up - float64(id.Start)/ticks) * float64(time.Second)), nil
}

// memory is what is resident, in bytes.
func memory(pid int) (int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(raw, []byte("VmRSS:"))
	var kib int64
	if _, err := fmt.Sscan(string(rest), &kib); err != nil {
		return 0, fmt.Errorf("VmRSS of %d: %w", pid, err)
	}
	return kib << 10, nil
}

func (w *world) goroutines(ctx context.Context, name string) (int64, error) {
	answer, err := client.Caller{Base: w.Services[name].Health, HTTP: w.http}.Do(ctx, client.Request{Path: "/metrics"})
	if err != nil {
		return 0, err
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(answer.Body))
	if err != nil {
		return 0, err
	}
	metrics := families["go_goroutines"].GetMetric()
	if len(metrics) != 1 {
		return 0, fmt.Errorf("%d go_goroutines in %s", len(metrics), answer)
	}
	return int64(metrics[0].GetGauge().GetValue()), nil
}

// held is what the NATS server holds for others.
func (w *world) held(ctx context.Context, figures map[history.Figure]int64) error {
	var varz struct{ Connections, Subscriptions *int64 }
	var jsz struct{ Consumers *int64 }
	for path, into := range map[string]any{"/varz": &varz, "/jsz": &jsz} {
		call := client.Caller{Base: fmt.Sprintf("http://127.0.0.1:%d", w.NATS[0].Monitor), HTTP: w.http}
		answer, err := call.Do(ctx, client.Request{Path: path})
		if err != nil {
			return err
		}
		if answer.Status != http.StatusOK {
			return fmt.Errorf("%s", answer)
		}
		if err := json.Unmarshal(answer.Body, into); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	for figure, n := range map[history.Figure]*int64{
		history.Connections: varz.Connections, history.Subscriptions: varz.Subscriptions, history.Consumers: jsz.Consumers,
	} {
		if n == nil {
			return fmt.Errorf("NATS does not tell its %s", figure)
		}
		figures[figure] = *n
	}
	return nil
}
