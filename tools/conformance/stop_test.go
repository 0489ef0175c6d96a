//go:build system

package conformance_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

func TestCheck15StopLeavesNothing(t *testing.T) {
	declare(t, realNode, 15)
	t.Parallel()
	api, session := defaultAPI(), newSession()
	first := startReady(t, api, startBody(t, "v1a", session))
	if err := agentOf(first).Write(t.Context(), workspace, "old.txt", "old"); err != nil {
		t.Fatal(err)
	}
	if err := api.Stop(t.Context(), first.RuntimeID); err != nil {
		t.Fatal(err)
	}
	if r, err := api.Session(t.Context(), session); err == nil && r.Status != "stopped" ||
		err != nil && client.StatusOf(err) != http.StatusNotFound {
		t.Errorf("after stop: %+v, %v; want stopped or 404", r, err)
	}
	waitNothing(t, first)

	second := startReady(t, api, startBody(t, "v1a", session))
	if second.RuntimeID == first.RuntimeID || second.SessionAPIKey == first.SessionAPIKey {
		t.Errorf("started again as %+v, want another runtime than %+v", second, first)
	}
	aliveNow(t, second)
	if text, err := agentOf(second).Read(t.Context(), workspace, "old.txt"); client.StatusOf(err) != http.StatusNotFound {
		t.Errorf("the stopped sandbox's file is there: %q, %v", text, err)
	}
	// A late stop of the first must not hit the second.
	pod := onePod(t, suite.Namespace, second)
	if err := api.Stop(t.Context(), first.RuntimeID); err != nil && client.StatusOf(err) != http.StatusNotFound {
		t.Errorf("late stop: %v", err)
	}
	if now := onePod(t, suite.Namespace, second); now.UID != pod.UID {
		t.Errorf("the late stop of %s hit %s", first.RuntimeID, second.RuntimeID)
	}
	if r := try(api.Session(t.Context(), session)).or(t); r.Status != "running" {
		t.Errorf("after the late stop of another: %+v", r)
	}
}

func TestCheck33PauseAndStopTwice(t *testing.T) {
	declare(t, realNode, 33)
	t.Parallel()
	api := defaultAPI()
	r := startReady(t, api, startBody(t, "v1a", newSession()))
	for range 2 {
		for _, gateway := range gateways("default") {
			pause(t, gateway, r)
		}
	}
	if volumes, err := volumesOf(t.Context(), r); err != nil || len(volumes) != 1 {
		t.Errorf("paused twice: volumes %q, %v", volumes, err)
	}
	for i := range 3 {
		for j, gateway := range gateways("default") {
			if err := gateway.Stop(t.Context(), r.RuntimeID); err != nil {
				t.Errorf("stop %d, gateway %d: %v", i+1, j, err)
			}
		}
	}
}

// It is not parallel, for it measures.
func TestCheck34StopOfNothing(t *testing.T) {
	declare(t, apiServer, 34)
	const limit = time.Second
	for name, body := range map[string]any{
		"null":           map[string]any{"runtime_id": nil},
		"missing":        map[string]any{},
		"unknown":        client.ByID(unknownID),
		"empty":          client.ByID(""),
		"no id":          client.ByID("../../etc/passwd"),
		"not valid UTF8": []byte("{\"runtime_id\":\"\xff\xfe\"}"),
		"long":           client.ByID(strings.Repeat("a", 10_000)),
		"number":         map[string]any{"runtime_id": 7},
		"object":         map[string]any{"runtime_id": map[string]any{}},
		"array":          []any{},
		"no JSON":        []byte("runtime_id=x"),
		"nothing":        nil,
	} {
		for _, path := range []string{"/stop", "/pause", "/resume"} {
			answer := do(t, defaultAPI().Caller, client.Request{Method: http.MethodPost, Path: path, Body: body})
			if err := answer.Problem(http.StatusBadRequest, http.StatusNotFound, http.StatusUnprocessableEntity); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if name == "unknown" && answer.Status != http.StatusNotFound {
				t.Errorf("%s: %s, want 404", name, answer)
			}
			if answer.Took > limit {
				t.Errorf("%s: %s, want it within %s", name, answer, limit)
			}
		}
	}
}

// Whatever is done at once, the last accepted command wins and nothing is left
// over in between.
func TestStopDuringStart(t *testing.T) {
	t.Parallel()
	api := defaultAPI()
	for i := range 3 {
		r := start(t, api, startBody(t, "v1a", newSession()))
		if err := api.Stop(t.Context(), r.RuntimeID); err != nil {
			t.Fatal(fmt.Errorf("stop %d: %w", i, err))
		}
		waitNothing(t, r)
	}
}
