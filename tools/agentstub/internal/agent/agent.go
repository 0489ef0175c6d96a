package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

// Agent is one running stub.
type Agent struct {
	cfg     Config
	exit    func(code int)
	started time.Time
	held    [][]byte // what EatMemory holds

	mu         sync.Mutex
	lastActive time.Time
}

// New makes a stub; exit is what ends the process (os.Exit outside tests).
func New(cfg Config, exit func(code int)) *Agent {
	now := time.Now()
	return &Agent{cfg: cfg, exit: exit, started: now, lastActive: now}
}

// Run serves all four ports until ctx ends, and returns the exit code. It does
// not drain: an agent that dies at once makes the shortest tests.
func (a *Agent) Run(ctx context.Context) (int, error) {
	if file := a.cfg.Faults.CrashFile; file != "" {
		if _, err := os.Stat(file); err == nil {
			return a.cfg.Faults.ExitCode, fmt.Errorf("%s exists: crashing, as told", file)
		}
	}
	servers := []struct {
		port    int
		handler http.Handler
	}{
		{a.cfg.Ports.Agent, a.Handler()},
		{a.cfg.Ports.VSCode, a.VSCode()},
		{a.cfg.Ports.Worker1, a.Worker(a.cfg.Ports.Worker1)},
		{a.cfg.Ports.Worker2, a.Worker(a.cfg.Ports.Worker2)},
	}
	var listeners []net.Listener
	for _, s := range servers {
		l, err := net.Listen("tcp", net.JoinHostPort("", strconv.Itoa(s.port)))
		if err != nil {
			return 1, fmt.Errorf("listen: %w", err)
		}
		defer func() { _ = l.Close() }() // the process ends with it
		listeners = append(listeners, l)
	}
	failed := make(chan error, len(servers))
	for i, s := range servers {
		// No limit on a whole request: the router's tests hold some open for long.
		server := &http.Server{Handler: s.handler, ReadHeaderTimeout: 10 * time.Second}
		go func() { failed <- server.Serve(listeners[i]) }()
	}
	a.held = eatMemory(ctx, a.cfg.Faults.EatMemory)
	select {
	case <-ctx.Done():
		return a.cfg.Faults.ExitOnTerm, nil
	case err := <-failed:
		return 1, fmt.Errorf("serve: %w", err)
	case <-a.crash():
		return a.cfg.Faults.ExitCode, fmt.Errorf("crashing after %s, as told", a.cfg.Faults.CrashAfter)
	}
}

// crash fires when it is time to; never where no crash was asked for.
func (a *Agent) crash() <-chan time.Time {
	if !a.cfg.Faults.Crash {
		return nil
	}
	return time.After(a.cfg.Faults.CrashAfter)
}

// eatMemory writes to every page, because untouched pages cost nothing.
func eatMemory(ctx context.Context, mib int) [][]byte {
	const page = 4096
	var held [][]byte
	for range mib {
		if ctx.Err() != nil {
			break
		}
		block := make([]byte, 1<<20)
		for i := 0; i < len(block); i += page {
			block[i] = 1
		}
		held = append(held, block)
	}
	return held
}

// touch notes activity, as an authenticated request is for the real server.
func (a *Agent) touch(ago time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lastActive = time.Now().Add(-ago)
}

func (a *Agent) idle() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Since(a.lastActive)
}
