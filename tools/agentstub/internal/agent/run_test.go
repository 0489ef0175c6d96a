package agent_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/agentstub/internal/agent"
)

func freePorts(t *testing.T) agent.Ports {
	t.Helper()
	var ports [4]int
	for i := range ports {
		l, err := net.Listen("tcp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return agent.Ports{Agent: ports[0], VSCode: ports[1], Worker1: ports[2], Worker2: ports[3]}
}

func TestRunServesAllPortsUntilTold(t *testing.T) {
	t.Parallel()
	ports := freePorts(t)
	a := newAgent(t, func(c *agent.Config) { c.Ports, c.Faults.EatMemory = ports, 1 })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() {
		code, err := a.Run(ctx)
		if err != nil {
			t.Errorf("run: %v", err)
		}
		done <- code
	}()
	for port, want := range map[int]int{ports.Agent: 401, ports.VSCode: 403, ports.Worker1: 200, ports.Worker2: 200} {
		if got := statusOf(t, port); got != want {
			t.Errorf("port %d: %d, want %d", port, got, want)
		}
	}
	cancel()
	if code := <-done; code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestRunEndsAsToldOnTerm(t *testing.T) {
	t.Parallel()
	a := newAgent(t, func(c *agent.Config) { c.Ports, c.Faults = agent.Ports{}, agent.Faults{ExitCode: 1, ExitOnTerm: 143} })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if code, err := a.Run(ctx); code != 143 || err != nil {
		t.Errorf("code %d, err %v; want 143", code, err)
	}
}

// statusOf asks until somebody listens there.
func statusOf(t *testing.T, port int) int {
	t.Helper()
	for {
		res, err := http.Get("http://127.0.0.1:" + strconv.Itoa(port) + "/x")
		if err == nil {
			_ = res.Body.Close()
			return res.StatusCode
		}
		select {
		case <-t.Context().Done():
			t.Fatal(err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestRunEnds(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "crash")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() }) // after the parallel cases
	tests := map[string]struct {
		change func(*agent.Config)
		want   int
	}{
		"crash after a time": {func(c *agent.Config) {
			c.Faults = agent.Faults{Crash: true, CrashAfter: time.Millisecond, ExitCode: 7}
		}, 7},
		"crash at once":     {func(c *agent.Config) { c.Faults = agent.Faults{Crash: true, ExitCode: 8} }, 8},
		"crash file exists": {func(c *agent.Config) { c.Faults = agent.Faults{CrashFile: file, ExitCode: 9} }, 9},
		"port is taken":     {func(c *agent.Config) { c.Ports.Worker2 = taken.Addr().(*net.TCPAddr).Port }, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAgent(t, func(c *agent.Config) { c.Ports = agent.Ports{} }, tt.change)
			code, err := a.Run(t.Context())
			if code != tt.want || err == nil {
				t.Errorf("code %d, err %v; want %d and a reason", code, err, tt.want)
			}
		})
	}
}
