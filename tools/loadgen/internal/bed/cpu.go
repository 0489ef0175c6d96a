package bed

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// CPU is the time that processes have had of the machine's cores. Beside latencies
// it says what something costs whoever else uses the machine.
type CPU map[string]time.Duration

// here is this program: client and stub API server.
const here = "client and stub"

// tick is the kernel's unit of a process' times, on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// CPU reads the times of all processes of the stack that run, and of this one.
func (b *Bed) CPU() (CPU, error) {
	out := CPU{}
	pids := map[string]int{here: os.Getpid()}
	for _, name := range b.Stack.Processes() {
		if pid, err := b.Stack.Pid(name); err == nil {
			pids[name] = pid
		}
	}
	for name, pid := range pids {
		t, err := Spent(pid)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out[name] = t
	}
	return out, nil
}

// Spent is the time that one process has had.
func Spent(pid int) (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("processor time: %w", err)
	}
	// Fields count from the name's closing parenthesis: user time is the 12th, system
	// time the 13th.
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("processor time: unexpected stat %q", raw)
	}
	var all time.Duration
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("processor time: %w", err)
		}
		all += time.Duration(n) * tick
	}
	return all, nil
}

// Add adds what was used between two readings.
func (c CPU) Add(before, after CPU) {
	for name, t := range after {
		c[name] += t - before[name]
	}
}

// Each is what one of n things took, in words.
func (c CPU) Each(n int) string {
	var words []string
	var all time.Duration
	for name, t := range c {
		all += t
		if share := ms(t, n); share >= 0.005 {
			words = append(words, fmt.Sprintf("%s %.2f", name, share))
		}
	}
	slices.Sort(words)
	return fmt.Sprintf("%.2f ms of a core each (%s)", ms(all, n), strings.Join(words, ", "))
}

func ms(t time.Duration, n int) float64 {
	return float64(t) / float64(time.Millisecond) / float64(max(n, 1))
}
