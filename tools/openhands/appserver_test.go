//go:build openhands

package main_test

import (
	"fmt"
	"strings"
	"testing"
)

// appServer is the environment by which the app server finds Sandbar and its sandboxes'
// image. The README gives the same.
func appServer(key string) []string {
	repository, tag := bed.env["SANDBOX_IMAGE"], ""
	if i := strings.LastIndexByte(repository, ':'); i > 0 {
		repository, tag = repository[:i], repository[i+1:]
	}
	return []string{
		"RUNTIME=remote",
		"SANDBOX_REMOTE_RUNTIME_API_URL=" + bed.env["API_URL"],
		"SANDBOX_API_KEY=" + key,
		"AGENT_SERVER_IMAGE_REPOSITORY=" + repository,
		"AGENT_SERVER_IMAGE_TAG=" + tag,
		"OH_PERSISTENCE_DIR=/tmp/openhands", // its database is SQLite's
	}
}

func TestRemoteSandboxService(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		key            string
		rotates, evict bool
		oldKey         int
	}{
		"keys stay":   {key: bed.env["API_KEY"], evict: true, oldKey: 200},
		"keys rotate": {key: bed.env["ROTATING_API_KEY"], rotates: true, oldKey: 401},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Attr("conformance", "66 real node")
			told, _ := driveWith(t, "appserver", "appserver.py", map[string]any{"evict": c.evict}, appServer(c.key))
			told.want(t, facts{
				"service": "RemoteSandboxServiceInjector", "spec": bed.env["SANDBOX_IMAGE"], "same_key": true,
				"urls":  []string{"AGENT_SERVER", "VSCODE", "WORKER_1", "WORKER_2"},
				"alive": 200, "without_key": 401, "with_key": 200,
				"argv": "/agent-server/.venv/bin/python -m openhands.agent_server --port 60000", "user": "10001",
				"written": "kept", "found": true, "batch": []any{nil, "RUNNING"}, "by_key": true,
				"paused": true, "status_paused": "PAUSED", "alive_paused": 503, "by_key_paused": nil,
				"resumed": true, "same_url": true, "rotated": c.rotates, "old_key": c.oldKey, "by_new_key": true, "kept": "kept",
				"deleted": true, "gone": nil, "deleted_again": false,
			})
			if c.evict {
				told.want(t, facts{"evicted": true, "after": []string{"PAUSED", "RUNNING"}, "other_deleted": true})
			}
			wantSessionGone(t, fmt.Sprint(told["id"]))
		})
	}
}

// wantSessionGone waits until nothing is left of a session that was stopped just now: its
// record is there still.
func wantSessionGone(t *testing.T, session string) {
	t.Helper()
	r, err := api().Session(t.Context(), session)
	if err != nil || r.Status != "stopped" {
		t.Fatalf("after the client's end: %+v, %v; want stopped", r, err)
	}
	wantStopped(t, session, r.RuntimeID)
}
