//go:build system

package conformance_test

import (
	"encoding/json"
	"net/http"
	"path"
	"testing"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

const configsPath = "/api/warm-runtime-configs"

// warmConfig is an element as the strictest client reads it.
type warmConfig struct {
	Name        string             `json:"name"`
	Image       string             `json:"image"`
	Command     json.RawMessage    `json:"command"`
	Environment map[string]*string `json:"environment"`
	WorkingDir  string             `json:"working_dir"`
	Source      string             `json:"source"`
}

// warmConfigs reads them, and says what is wrong with each.
func warmConfigs(t *testing.T, api client.API) []warmConfig {
	t.Helper()
	answer := do(t, api.Caller, client.Request{Path: configsPath})
	var body struct {
		Configs []warmConfig `json:"configs"`
	}
	if err := answer.Decode(&body); err != nil || answer.Status != http.StatusOK || len(body.Configs) == 0 {
		t.Fatalf("%s, %v, want the configs of the testbed", answer, err)
	}
	names := map[string]bool{}
	for _, c := range body.Configs {
		var command []string
		switch {
		case c.Name == "" || names[c.Name]:
			t.Errorf("%s: the name %q is empty or not its own", answer, c.Name)
		case c.Image == "" || c.Source == "" || !path.IsAbs(c.WorkingDir) || c.Environment == nil:
			t.Errorf("%s: %s lacks image, source, working_dir or environment", answer, c.Name)
		case c.Command == nil || json.Unmarshal(c.Command, &command) != nil:
			t.Errorf("%s: the command of %s is %s, want a list or null", answer, c.Name, c.Command)
		}
		for name, value := range c.Environment {
			if value == nil {
				t.Errorf("%s: %s of %s is null", answer, name, c.Name)
			}
		}
		names[c.Name] = true
	}
	return body.Configs
}

func TestCheck59WarmRuntimeConfigs(t *testing.T) {
	declare(t, realNode, 59)
	t.Parallel()
	for _, api := range gateways("default") {
		warmConfigs(t, api)
		for name, header := range map[string]http.Header{"no key": {}, "a wrong key": {"X-API-Key": {"wrong"}}} {
			answer := do(t, api.Caller, client.Request{Path: configsPath, Bare: true, Header: header})
			if err := answer.Problem(http.StatusUnauthorized); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// What is offered can be started as a client does: with the config's own fields.
func TestCheck59WhatIsOfferedStarts(t *testing.T) {
	declare(t, realNode, 59)
	t.Parallel()
	offered := warmConfigs(t, defaultAPI())[0]
	r := startReady(t, defaultAPI(), startBody(t, "v1a", newSession(),
		with("image", offered.Image), with("command", offered.Command), with("working_dir", offered.WorkingDir), with("environment", offered.Environment)))
	aliveNow(t, r)
	for name, want := range offered.Environment {
		if got, _, err := agentOf(r).Variable(t.Context(), name); err != nil || got != *want {
			t.Errorf("%s is %q, %v; want %q", name, got, err, *want)
		}
	}
}

// The admin API is off: it says so to whoever asks, whatever they ask.
func TestCheck69AdminIsOff(t *testing.T) {
	declare(t, apiServer, 69)
	t.Parallel()
	for name, header := range map[string]http.Header{
		"no key": {}, "a wrong key": {"X-API-Key": {"wrong"}}, "a key": {"X-API-Key": {suite.APIKeys["default"]}}, "a token": {"Authorization": {"Bearer x"}},
	} {
		for _, request := range []client.Request{
			{Path: "/api/admin/challenge"},
			{Method: http.MethodPost, Path: "/api/admin/login", Body: map[string]any{"challenge": "x", "hash": "y"}},
			{Path: "/api/admin/api-keys"},
			{Method: http.MethodPut, Path: "/api/admin/warm-runtime-configs/a", Body: map[string]any{"image": "a:1"}},
			{Method: http.MethodDelete, Path: "/api/admin/warm-runtime-configs/a"},
			{Method: http.MethodPatch, Path: "/api/admin/api-keys"},
			{Method: http.MethodOptions, Path: "/api/admin/login"},
			{Path: "/api/admin"}, {Path: "/api/admin/"}, {Path: "/api/admin/a%2Fb//c"},
		} {
			request.Header, request.Bare = header, true
			if err := do(t, defaultAPI().Caller, request).Problem(http.StatusForbidden); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
