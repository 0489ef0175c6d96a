//go:build openhands

package main_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"testing"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

// What the agent server keeps is sealed by OH_SECRET_KEY, which stays while the session
// key, its fallback, is replaced: the server's own secrets, and a conversation's.
func TestSecretsOpenAfterARotation(t *testing.T) {
	t.Parallel()
	t.Attr("conformance", "47 real node")
	_, config := model(t)
	session, word := newSession(t), rand.Text()
	maps.Copy(config, map[string]any{
		"api_key": bed.env["ROTATING_API_KEY"], "session_id": session, "secret": word, "n": 23, "save": true, "keep_alive": true,
	})
	sealed := facts{"same": true, "kept": "/workspace/.openhands/secrets.json", "sealed": true}
	drive(t, "sdk", "secret.py", config).want(t, sealed)
	first := drive(t, "sdk", "leave.py", config)
	rotate(t, session)

	config["save"] = false
	comeBack(t, first, config, word)
	rotate(t, session)
	drive(t, "sdk", "secret.py", config).want(t, sealed)
}

// rotate pauses and resumes a session, and sees that its key is another one then.
func rotate(t *testing.T, session string) {
	t.Helper()
	api := client.NewAPI(bed.http, bed.env["API_URL"], bed.env["ROTATING_API_KEY"])
	before, err := api.Session(t.Context(), session)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.Pause(t.Context(), before.RuntimeID); err != nil {
		t.Fatal(err)
	}
	after, err := api.Resume(t.Context(), before.RuntimeID)
	if err != nil {
		t.Fatal(err)
	}
	poll(t, session+" is ready again", func(ctx context.Context) (string, bool) {
		r, err := api.Session(ctx, session)
		return fmt.Sprintf("%s, %s, %v", r.Status, r.PodStatus, err), err == nil && r.Status == "running" && r.PodStatus == "ready"
	})
	for key, status := range map[string]int{before.SessionAPIKey: http.StatusUnauthorized, after.SessionAPIKey: http.StatusOK} {
		answer, err := client.NewAgent(bed.http, after.URL, key).Do(t.Context(), client.Request{Path: "/api/settings/secrets"})
		if err != nil || answer.Status != status {
			t.Errorf("a session key (new: %t): %d, %v, want %d", key == after.SessionAPIKey, answer.Status, err, status)
		}
	}
}
