package httpapi_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/gateway/internal/httpapi"
)

var tight = &sandbox.Limits{Key: "tight", Sandboxes: 1}

// A start and a resume carry the limits of their key, and nothing else does.
func TestLimitsAreSent(t *testing.T) {
	t.Parallel()
	const one = `{"runtime_id":"` + runtimeA + `"}`
	for path, tt := range map[string]struct {
		status sandbox.Status
		body   string
		sent   bool
	}{
		"/start":  {"", `{"image":"i","session_id":"other"}`, true},
		"/resume": {sandbox.StatusPaused, one, true},
		"/pause":  {sandbox.StatusRunning, one, false},
		"/stop":   {sandbox.StatusRunning, one, false},
	} {
		for key, limits := range map[string]*sandbox.Limits{"key-tight": tight, "key-a": nil} {
			b := newBench(t, httpapi.Options{})
			if tt.status != "" {
				b.put(newView("tenant-a", "s", runtimeA), tt.status)
			}
			b.post(path, tt.body, "X-API-Key", key).want(t, http.StatusOK, "")
			if !tt.sent {
				limits = nil
			}
			if got := b.commands[0].Limits; got != limits {
				t.Errorf("%s by %s: %+v, want %+v", path, key, got, limits)
			}
		}
	}
}

// What is full, and when to come again, is told beside the sentence.
func TestRefusalsOfLimits(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err      *sandbox.Error
		status   int
		resource any
		after    string
	}{
		"full":        {&sandbox.Error{Code: sandbox.CodeQuota, Message: "full", Resource: sandbox.ResourceCPU}, 400, "cpu", ""},
		"too fast":    {&sandbox.Error{Code: sandbox.CodeRateLimited, Message: "starts per minute", Resource: sandbox.ResourceStarts, RetryAfter: 1200 * time.Millisecond}, 429, "starts_per_minute", "2"},
		"any other":   {sandbox.Errorf(sandbox.CodeQuota, "exceeded quota"), 400, nil, ""},
		"busy":        {&sandbox.Error{Code: sandbox.CodeUnavailable, Message: "nothing was done", RetryAfter: time.Second}, 503, nil, "1"},
		"unavailable": {sandbox.Errorf(sandbox.CodeUnavailable, "try again"), 503, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, httpapi.Options{})
			b.answer = func(sandbox.Command) (*sandbox.View, error) { return nil, tt.err }
			a := b.post("/start", `{"image":"i","session_id":"s"}`)
			a.want(t, tt.status, tt.err.Message)
			if a.object["resource"] != tt.resource || a.object["error"] != string(tt.err.Code) || a.Header().Get("Retry-After") != tt.after {
				t.Errorf("%s, Retry-After %q", a.Body, a.Header().Get("Retry-After"))
			}
		})
	}
}
