//go:build openhands

package main_test

import (
	"testing"
)

// legacy is the environment by which the legacy client finds Sandbar and the image of its
// sandboxes. The README gives the same.
func legacy(more ...string) []string {
	return append([]string{
		"RUNTIME=remote",
		"SANDBOX_REMOTE_RUNTIME_API_URL=" + bed.env["API_URL"],
		"SANDBOX_API_KEY=" + bed.env["API_KEY"],
		"SANDBOX_RUNTIME_CONTAINER_IMAGE=" + bed.env["LEGACY_IMAGE"],
		"SANDBOX_RUNTIME_STARTUP_ENV_VARS={'GREETING': 'hello'}",
		"SANDBOX_REMOTE_RUNTIME_INIT_TIMEOUT=400", // seconds: the first start on a node pulls the image
		"ENABLE_BROWSER=false",
		"FILE_STORE_PATH=/tmp/openhands",
	}, more...)
}

func TestRemoteRuntime(t *testing.T) {
	t.Parallel()
	t.Attr("conformance", "66 real node")
	session := newSession(t)
	config := map[string]any{"session_id": session, "back": false}
	first, _ := driveWith(t, "legacy", "legacy.py", config,
		legacy("SANDBOX_KEEP_RUNTIME_ALIVE=true", "SANDBOX_PAUSE_CLOSED_RUNTIMES=true"))
	r, err := api().Session(t.Context(), session)
	if err != nil || r.Status != "paused" {
		t.Fatalf("a runtime that is closed and kept: %+v, %v; want paused", r, err)
	}
	said := func(text string) []any { return []any{0, text} }
	first.want(t, facts{
		"runtime_id": r.RuntimeID, "work_ports": []int{12000, 12001},
		"statuses": []string{"STATUS$STARTING_RUNTIME", "STATUS$READY"},
		"user":     said("openhands"), "failing": []any{3, ""}, "environment": said("hello"), "pod": said(r.RuntimeID),
		"read": "kept\n", "listed": []string{"file", "up"}, "downloaded": map[string]string{"file": "kept\n", "up": "uploaded"},
		"after_503": []string{"file", "up"}, "kept": said("kept"), "attached": true, "attached_runs": said("uploaded"),
	})

	config["back"] = true
	back, _ := driveWith(t, "legacy", "legacy.py", config, legacy())
	back.want(t, facts{"runtime_id": r.RuntimeID, "kept": said("kept")})
	wantSessionGone(t, session)
}
