//go:build openhands

package main_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/openhands/internal/llm"
)

// Nobody talks to a sandbox whose client has gone; what its agent server says of its
// idle time keeps it while the agent works, for twice its key's idle time. Afterwards it
// is paused, and another client goes on.
func TestAgentWorksAlone(t *testing.T) {
	t.Parallel()
	t.Attr("conformance", "44 real node")
	t.Attr("conformance", "68 real node")
	m, config := model(t)
	// The agent says nothing while its model thinks: with half of the key's idle time the
	// other half is for all that it does between two answers, on a machine that is busy.
	const answers, each = 4, 15 * time.Second
	m.Before = func(ctx context.Context, r llm.Request) {
		if len(r.Tools) == 0 || strings.Contains(fmt.Sprint(r.Messages), "Once more") {
			return
		}
		select {
		case <-time.After(each):
		case <-ctx.Done():
		}
	}
	session, word := newSession(t), rand.Text()
	maps.Copy(config, map[string]any{"api_key": bed.env["IDLE_API_KEY"], "session_id": session, "n": 23, "secret": word})
	first := drive(t, "sdk", "hand_over.py", config)
	left := time.Now()
	poll(t, "the sandbox is paused", func(ctx context.Context) (string, bool) {
		r, err := api().Session(ctx, session)
		given, _ := m.Answers()
		if err == nil && r.Status != "running" && given < answers {
			t.Fatalf("%s after %d of %d answers, %s after its client: %s", r.Status, given, answers, time.Since(left), r.StatusDetail)
		}
		paused := err == nil && r.Status == "paused" && strings.HasPrefix(r.StatusDetail, "it was idle for ")
		return fmt.Sprintf("%s: %s, %v; %d answers", r.Status, r.StatusDetail, err, given), paused
	})
	t.Logf("paused %s after its client had gone", time.Since(left).Round(time.Second))
	if took := time.Since(left); took < (answers-1)*each {
		t.Errorf("the agent worked for %s alone, less than its model took", took)
	}
	comeBack(t, first, config, word)
}
