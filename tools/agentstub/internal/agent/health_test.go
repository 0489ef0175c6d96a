package agent_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sandbar-io/sandbar/tools/agentstub/internal/agent"
)

type info struct {
	Uptime   float64 `json:"uptime"`
	IdleTime float64 `json:"idle_time"`
}

func TestIdleTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newAgent(t).Handler()
		serverInfo := func() info {
			return decode[info](t, request(t, h, "GET", "/server_info", nil, noKey).Body)
		}
		time.Sleep(30 * time.Second)
		if got := serverInfo(); got != (info{Uptime: 30, IdleTime: 30}) {
			t.Errorf("after 30 s: %+v", got)
		}
		request(t, h, "GET", "/api/x", nil, noKey) // refused, so no activity
		request(t, h, "GET", "/alive", nil)
		if got := serverInfo(); got.IdleTime != 30 {
			t.Errorf("what is open or refused counted as activity: %+v", got)
		}
		request(t, h, "GET", "/api/x", nil)
		if got := serverInfo(); got.IdleTime != 0 {
			t.Errorf("after a request: %+v", got)
		}
		request(t, h, "GET", "/slow?ms=5000", nil)
		if got := serverInfo(); got.IdleTime != 0 {
			t.Errorf("after the end of a long request: %+v", got)
		}
		request(t, h, "GET", "/idle?seconds=900", nil)
		time.Sleep(time.Second)
		if got := serverInfo(); got.IdleTime != 901 {
			t.Errorf("a second after /idle: %+v", got)
		}
	})
}

func TestReadyAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newAgent(t, func(c *agent.Config) { c.Faults.ReadyAfter = 2 * time.Second }).Handler()
		time.Sleep(1999 * time.Millisecond)
		for _, path := range []string{"/alive", "/health", "/ready"} {
			if w := request(t, h, "GET", path, nil); w.Code != 503 {
				t.Errorf("%s too early: %d", path, w.Code)
			}
		}
		time.Sleep(time.Millisecond)
		for _, path := range []string{"/alive", "/health", "/ready"} {
			w := request(t, h, "GET", path, nil)
			if w.Code != 200 || decode[map[string]string](t, w.Body)["status"] != "ok" {
				t.Errorf("%s: %d", path, w.Code)
			}
		}
	})
}

func TestNoServerInfo(t *testing.T) {
	t.Parallel()
	h := newAgent(t, func(c *agent.Config) { c.Faults.NoInfo = true }).Handler()
	if w := request(t, h, "GET", "/server_info", nil, noKey); w.Code != 500 {
		t.Errorf("%d", w.Code)
	}
	if w := request(t, h, "GET", "/alive", nil, noKey); w.Code != 200 {
		t.Errorf("/alive: %d", w.Code)
	}
}

func TestUnreadyFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "unready")
	h := newAgent(t, func(c *agent.Config) { c.Faults.UnreadyIf = file }).Handler()
	status := func() int { return request(t, h, "GET", "/alive", nil).Code }
	if got := status(); got != 200 {
		t.Errorf("without the file: %d", got)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := status(); got != 503 {
		t.Errorf("with the file: %d", got)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if got := status(); got != 200 {
		t.Errorf("file gone: %d", got)
	}
}

func TestHangAnswersNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newAgent(t, func(c *agent.Config) { c.Faults.Hang = true }).Handler()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		w := httptest.NewRecorder()
		begin := time.Now()
		h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/alive", nil))
		if time.Since(begin) != time.Hour || w.Body.Len() != 0 {
			t.Errorf("ended after %s with %q", time.Since(begin), w.Body)
		}
	})
}

func TestCrashOnDemand(t *testing.T) {
	t.Parallel()
	exited := make(chan int, 1)
	h := agent.New(agent.Config{SessionKey: key, Faults: agent.Faults{ExitCode: 3}}, func(code int) { exited <- code }).Handler()
	for target, want := range map[string]int{"/crash?code=9": 9, "/crash": 3} {
		if w := request(t, h, "POST", target, nil); w.Code != http.StatusAccepted {
			t.Errorf("%s: %d", target, w.Code)
		}
		if code := <-exited; code != want {
			t.Errorf("%s: exit code %d, want %d", target, code, want)
		}
	}
	if w := request(t, h, "GET", "/crash", nil); w.Code != 405 || len(exited) != 0 {
		t.Errorf("GET crashed it: %d", w.Code)
	}
}
