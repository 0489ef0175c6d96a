package obs_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/obs"
)

func TestLogger(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, err := obs.NewLogger("gateway", "", &out)
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("not written")
	log.Info("started", obs.RuntimeID("r"), obs.SessionID("s"), obs.RequestID("q"), obs.CommandID("c"), obs.Tenant("t"))
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	want := map[string]string{
		"level": "info", "msg": "started", "service": "gateway", "runtime_id": "r", "session_id": "s", "request_id": "q", "command_id": "c", "tenant": "t",
	}
	for k, v := range want {
		if line[k] != v {
			t.Errorf("%s is %v", k, line[k])
		}
	}
	if when, ok := line["time"].(string); !ok {
		t.Errorf("%v", line)
	} else if _, err := time.Parse(time.RFC3339Nano, when); err != nil {
		t.Error(err)
	}
}

func TestLevels(t *testing.T) {
	t.Parallel()
	for level, lines := range map[string]int{"debug": 4, "info": 3, "": 3, "warn": 2, "error": 1, "INFO": 3} {
		var out bytes.Buffer
		log, err := obs.NewLogger("x", level, &out)
		if err != nil {
			t.Errorf("%q: %v", level, err)
			continue
		}
		log.Debug("a")
		log.Info("a")
		log.Warn("a")
		log.Error("a")
		if n := strings.Count(out.String(), "\n"); n != lines {
			t.Errorf("%q writes %d lines", level, n)
		}
	}
	if _, err := obs.NewLogger("x", "loud", &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "LOG_LEVEL") {
		t.Errorf("%v", err)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	obs.Handler(obs.NewRegistry()).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "go_goroutines") {
		t.Errorf("%d %s", w.Code, w.Body.String())
	}
}

// What fails before there is a request is not worth a warning.
func TestServerLog(t *testing.T) {
	t.Parallel()
	for line, level := range map[string]string{
		"http: TLS handshake error from 10.0.0.1:1234: EOF": "debug",
		"http: panic serving 10.0.0.1:1234: broken":         "warn",
	} {
		var out bytes.Buffer
		log, err := obs.NewLogger("x", "debug", &out)
		if err != nil {
			t.Fatal(err)
		}
		obs.ServerLog(log).Print(line)
		var got struct{ Level, Error string }
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || got.Level != level || got.Error != line {
			t.Errorf("%s: %v", out.String(), err)
		}
	}
}
