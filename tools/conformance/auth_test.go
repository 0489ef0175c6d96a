//go:build system

package conformance_test

import (
	"net/http"
	"testing"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

func TestCheck16OnlyTheAPIKeyOpens(t *testing.T) {
	declare(t, realNode, 16)
	t.Parallel()
	r, session := sharedRunning(t), newSession()
	stopAtEnd(t, defaultAPI(), map[string]any{"session_id": session}) // should one get through
	requests := []client.Request{
		{Method: http.MethodPost, Path: "/start", Body: startBody(t, "v1a", session)},
		{Method: http.MethodPost, Path: "/stop", Body: client.ByID(r.RuntimeID)},
		{Method: http.MethodPost, Path: "/pause", Body: client.ByID(r.RuntimeID)},
		{Method: http.MethodPost, Path: "/resume", Body: client.ByID(r.RuntimeID)},
		{Path: "/list"},
		{Path: client.SessionPath(r.SessionID)},
		{Path: client.BatchPath(r.SessionID)},
		{Path: "/runtime/" + r.RuntimeID},
		{Path: "/registry_prefix"},
		{Path: "/image_exists?image=x"},
	}
	key := suite.APIKeys["default"]
	for name, header := range map[string]http.Header{
		"no key":                    {},
		"empty key":                 {"X-API-Key": {""}},
		"wrong key":                 {"X-API-Key": {"wrong"}},
		"key and more":              {"X-API-Key": {key + "x"}},
		"less than the key":         {"X-API-Key": {key[:len(key)-1]}},
		"session key as API key":    {"X-API-Key": {r.SessionAPIKey}},
		"session key alone":         {"X-Session-API-Key": {r.SessionAPIKey}},
		"API key as session key":    {"X-Session-API-Key": {key}},
		"API key in Authorization":  {"Authorization": {"Bearer " + key}},
		"API key in another header": {"Api-Key": {key}},
	} {
		for _, request := range requests {
			request.Header, request.Bare = header, true
			if err := do(t, defaultAPI().Caller, request).Problem(http.StatusUnauthorized); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if now, err := defaultAPI().Session(t.Context(), session); client.StatusOf(err) != http.StatusNotFound {
		t.Errorf("a start without a key made %+v, %v", now, err)
	}
	if now := try(defaultAPI().Session(t.Context(), r.SessionID)).or(t); now.Status != "running" {
		t.Errorf("a command without a key did something: %+v", now)
	}
}

func TestCheck16HealthIsOpen(t *testing.T) {
	declare(t, apiServer, 16)
	t.Parallel()
	for _, api := range gateways("default") {
		for _, path := range []string{"/health", "/liveness", "/readiness"} {
			answer := do(t, api.Caller, client.Request{Path: path, Bare: true})
			var body map[string]any
			if err := answer.Decode(&body); err != nil || answer.Status != http.StatusOK || body == nil {
				t.Errorf("%s, want 200 and a JSON object", answer)
			}
		}
	}
}

func TestCheck19Tenants(t *testing.T) {
	declare(t, realNode, 19)
	t.Parallel()
	session := newSession()
	mine := startReady(t, keyedAPI("default"), startBody(t, "v1a", session))
	other := keyedAPI("other")
	unseen := func(when string) {
		t.Helper()
		for _, request := range []client.Request{
			{Path: "/runtime/" + mine.RuntimeID},
			{Method: http.MethodPost, Path: "/pause", Body: client.ByID(mine.RuntimeID)},
			{Method: http.MethodPost, Path: "/resume", Body: client.ByID(mine.RuntimeID)},
			{Method: http.MethodPost, Path: "/stop", Body: client.ByID(mine.RuntimeID)},
		} {
			if err := do(t, other.Caller, request).Problem(http.StatusNotFound); err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
		for _, listed := range try(other.List(t.Context())).or(t) {
			if listed.RuntimeID == mine.RuntimeID {
				t.Errorf("%s: another tenant's list holds %+v", when, listed)
			}
		}
	}
	unseen("before a session of this name")
	if r, err := other.Session(t.Context(), session); client.StatusOf(err) != http.StatusNotFound {
		t.Errorf("the other tenant reads %+v, %v", r, err)
	}
	if all := try(other.Batch(t.Context(), session)).or(t); all[0] != nil {
		t.Errorf("the other tenant's batch holds %+v", *all[0])
	}

	theirs := startReady(t, other, startBody(t, "v1a", session))
	if theirs.RuntimeID == mine.RuntimeID || theirs.URL == mine.URL || theirs.SessionAPIKey == mine.SessionAPIKey {
		t.Errorf("the same session of two tenants: %+v and %+v", mine, theirs)
	}
	unseen("with a session of this name")
	answer := do(t, client.NewAgent(suite.http, theirs.URL, mine.SessionAPIKey).Caller, client.Request{Path: "/whoami"})
	if answer.Status != http.StatusUnauthorized {
		t.Errorf("another tenant's key opens the sandbox: %s", answer)
	}
	if err := other.Stop(t.Context(), theirs.RuntimeID); err != nil {
		t.Fatal(err)
	}
	if now := try(keyedAPI("default").Session(t.Context(), session)).or(t); now.Status != "running" {
		t.Errorf("after the other tenant's stop: %+v", now)
	}
	aliveNow(t, mine)
}
