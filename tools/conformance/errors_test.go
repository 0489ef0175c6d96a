//go:build system

package conformance_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

func TestCheck48NotFoundAndMethodNotAllowed(t *testing.T) {
	declare(t, apiServer, 48)
	t.Parallel()
	for _, test := range []struct {
		method string
		want   int
		paths  []string
	}{
		{http.MethodGet, http.StatusNotFound, []string{
			"/", "/nowhere", "//list", "/list/", "/List", "/sessions", "/sessions/", "/sessions//", "/sessions/a/b", "/runtime/",
			"/runtime/" + unknownID, "/sessions/" + newSession(), "/a/../list", "/%2e%2e/list", "/start/", "/sessions/%00",
		}},
		{http.MethodPost, http.StatusNotFound, []string{"/", "/nowhere", "/start/", "//start", "/stop/x"}},
		{http.MethodGet, http.StatusMethodNotAllowed, []string{"/start", "/stop", "/pause", "/resume"}},
		{http.MethodPost, http.StatusMethodNotAllowed, []string{
			"/list", "/sessions/x", "/sessions/batch", "/runtime/x", "/registry_prefix", "/image_exists", "/health", "/liveness", "/readiness",
		}},
		{http.MethodDelete, http.StatusMethodNotAllowed, []string{"/sessions/x", "/runtime/x", "/start", "/list"}},
		{http.MethodPut, http.StatusMethodNotAllowed, []string{"/start", "/pause"}},
	} {
		for _, path := range test.paths {
			answer := do(t, defaultAPI().Caller, client.Request{Method: test.method, Path: path})
			want := []int{test.want}
			if strings.Contains(path, "%00") {
				want = append(want, http.StatusBadRequest) // no session can have this id
			}
			if err := answer.Problem(want...); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestCheck48BadStartBodies(t *testing.T) {
	declare(t, apiServer, 48)
	t.Parallel()
	api, session := defaultAPI(), newSession()
	good := func(mods ...func(map[string]any)) map[string]any { return startBody(t, "v1a", session, mods...) }
	stopAtEnd(t, api, good()) // should one get through
	for name, test := range map[string]struct {
		body  any
		names string // what the answer must name
	}{
		"nothing":              {nil, ""},
		"no JSON":              {[]byte(`{"image": `), ""},
		"two values":           {[]byte(`{} {}`), ""},
		"array":                {[]any{good()}, ""},
		"text":                 {"start", ""},
		"null":                 {[]byte("null"), ""},
		"no session":           {good(without("session_id")), "session_id"},
		"empty session":        {good(with("session_id", "")), "session_id"},
		"session is a number":  {good(with("session_id", 7)), "session_id"},
		"session is null":      {good(with("session_id", nil)), "session_id"},
		"session is long":      {good(with("session_id", strings.Repeat("s", 10_000))), "session_id"},
		"session with control": {good(with("session_id", "a\nb")), "session_id"},
		"image is a list":      {good(with("image", []string{"a"})), "image"},
		"image is no image":    {good(with("image", "Not an image!")), "image"},
		"command is a number":  {good(with("command", 7)), "command"},
		"command of numbers":   {good(with("command", []any{"a", 7})), "command"},
		"command not closed":   {good(with("command", `run "half`)), "command"},
		"directory relative":   {good(with("working_dir", "workspace")), "working_dir"},
		"environment is text":  {good(with("environment", "A=B")), "environment"},
		"variable is a list":   {good(withEnv("A", []string{"b"})), "environment"},
		"variable name":        {good(withEnv("A=B", "secret-value")), "environment"},
		"variable with NUL":    {good(withEnv("A", "secret-value\x00")), "environment"},
		"class unknown":        {good(with("runtime_class", "no-such-class")), "runtime_class"},
		"user below 0":         {good(with("run_as_user", -1)), "run_as_user"},
		"user is text":         {good(with("run_as_user", "root")), "run_as_user"},
		"group is huge":        {good(with("run_as_group", 1<<40)), "run_as_group"},
		"fs group is broken":   {good(with("fs_group", 1.5)), "fs_group"},
		"pull policy":          {good(with("image_pull_policy", "Sometimes")), "image_pull_policy"},
	} {
		answer := do(t, api.Caller, client.Request{Method: http.MethodPost, Path: "/start", Body: test.body})
		if err := answer.Problem(http.StatusBadRequest, http.StatusUnprocessableEntity); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !strings.Contains(string(answer.Body), test.names) {
			t.Errorf("%s: %s does not name %s", name, answer, test.names)
		}
		if strings.Contains(string(answer.Body), "secret-value") {
			t.Errorf("%s: the answer tells the value of a variable", name)
		}
	}
	if r, err := api.Session(t.Context(), session); client.StatusOf(err) != http.StatusNotFound {
		t.Errorf("a refused start made %+v, %v", r, err)
	}
}

func TestCheck48TooLarge(t *testing.T) {
	declare(t, apiServer, 48)
	t.Parallel()
	api := defaultAPI()
	for name, test := range map[string]struct {
		body  map[string]any
		names string
	}{
		"body":     {startBody(t, "v1a", newSession(), with("padding", strings.Repeat("x", 600<<10))), ""},
		"variable": {startBody(t, "v1a", newSession(), withEnv("A_LONG_ONE", strings.Repeat("x", 101<<10))), "A_LONG_ONE"},
	} {
		stopAtEnd(t, api, test.body)
		answer := do(t, api.Caller, client.Request{Method: http.MethodPost, Path: "/start", Body: test.body})
		want := []int{http.StatusRequestEntityTooLarge}
		if name == "variable" {
			want = append(want, http.StatusBadRequest, http.StatusUnprocessableEntity)
		}
		if err := answer.Problem(want...); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !strings.Contains(string(answer.Body), test.names) {
			t.Errorf("%s: %s does not name %s", name, answer, test.names)
		}
	}
	long := do(t, api.Caller, client.Request{Method: http.MethodPost, Path: "/stop", Body: client.ByID(strings.Repeat("a", 600<<10))})
	if err := long.Problem(http.StatusRequestEntityTooLarge); err != nil {
		t.Error(err)
	}
}

func TestCheck49WhatIsUnknownIsIgnored(t *testing.T) {
	declare(t, realNode, 49)
	t.Parallel()
	api := defaultAPI()
	stale := http.Header{"X-Session-API-Key": {"stale"}, "X-Unknown": {"1"}}
	body := startBody(t, "v1a", newSession(), neverReady,
		with("labels", map[string]any{"a": []any{1, nil}}), with("sandbox_spec_id", nil), with("Timeout", 30))
	stopAtEnd(t, api, body)
	answer := do(t, api.Caller, client.Request{Method: http.MethodPost, Path: "/start?wait=1&wait=2", Body: body, Header: stale})
	started, err := client.DecodeRuntime(answer.Body)
	if err != nil || answer.Status != http.StatusOK {
		t.Fatalf("%s: %v", answer, err)
	}
	r := sharedRunning(t)
	for path, held := range map[string]string{
		client.SessionPath(r.SessionID):                  r.RuntimeID,
		"/runtime/" + r.RuntimeID:                        r.RuntimeID,
		client.BatchPath(r.SessionID, started.SessionID): started.RuntimeID,
		"/list": r.RuntimeID,
		"/sessions/batch?x=1&ids=" + r.SessionID + "&ID=": r.RuntimeID,
	} {
		separator := "?"
		if strings.Contains(path, "?") {
			separator = "&"
		}
		answer := do(t, api.Caller, client.Request{Path: path + separator + "verbose=1&verbose=2&limit=0", Header: stale})
		if answer.Status != http.StatusOK || !strings.Contains(string(answer.Body), fmt.Sprintf("%q", held)) {
			t.Errorf("%s, want it to hold %s", answer, held)
		}
	}
	for _, path := range []string{"/resume", "/pause", "/stop"} {
		unknown := map[string]any{"runtime_id": started.RuntimeID, "session_id": r.SessionID, "force": true}
		answer := do(t, api.Caller, client.Request{Method: http.MethodPost, Path: path + "?force=1", Body: unknown, Header: stale})
		if !answer.OK() {
			t.Errorf("%s", answer)
		}
	}
}
