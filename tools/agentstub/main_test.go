package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary be the program, so that a real process gets the signal.
func TestMain(m *testing.M) {
	if os.Getenv("AGENTSTUB_TEST_RUN") == "1" {
		main()
	}
	os.Exit(m.Run())
}

func TestTerminateEndsAtOnceWithRequestsOpen(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "--port", port, "--unknown", "argument")
	cmd.Env = append(os.Environ(), "AGENTSTUB_TEST_RUN=1", "SESSION_API_KEY=k", "VSCODE_PORT=0", "WORKER_1=0", "WORKER_2=0")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	res := firstEvent(t, "http://127.0.0.1:"+port+"/sse?count=2&interval_ms=3600000")
	defer res.Body.Close()
	begin := time.Now()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("exit: %v", err)
	}
	// A drain would last an hour here; the rest is room for a busy machine.
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
}

func firstEvent(t *testing.T, url string) *http.Response {
	t.Helper()
	for {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Session-API-Key", "k")
		res, err := http.DefaultClient.Do(r)
		if err == nil {
			if line, err := bufio.NewReader(res.Body).ReadString('\n'); err != nil || !strings.HasPrefix(line, "id: 0") {
				t.Fatalf("%q, %v", line, err)
			}
			return res
		}
		select {
		case <-t.Context().Done():
			t.Fatal(err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

func TestBadPortIsAnError(t *testing.T) {
	t.Parallel()
	var stderr strings.Builder
	if code := run(t.Context(), []string{"stub", "--port", "x"}, os.Getenv, &stderr); code != 2 || !strings.Contains(stderr.String(), "--port") {
		t.Errorf("code %d, %q", code, stderr.String())
	}
}
