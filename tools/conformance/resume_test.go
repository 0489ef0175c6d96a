//go:build system

package conformance_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

// unknownID has the form of a runtime id, and is none: 16 letters at random are
// never these.
const unknownID = "zzzzunknownzzzzz"

func TestCheck30ResumeOfRunning(t *testing.T) {
	declare(t, realNode, 30)
	t.Parallel()
	for _, key := range []string{"default", "rotating"} {
		r := startReady(t, keyedAPI(key), startBody(t, "v1a", newSession()))
		pod := onePod(t, suite.Namespace, r)
		for i, api := range gateways(key) {
			resumed := try(api.Resume(t.Context(), r.RuntimeID)).or(t)
			sameSandbox(t, fmt.Sprintf("%s, gateway %d", key, i), r, resumed)
			if resumed.Status != "running" || resumed.RestartCount != 0 {
				t.Errorf("%s, gateway %d: %+v, want it to run on", key, i, resumed)
			}
		}
		if now := onePod(t, suite.Namespace, r); now.UID != pod.UID {
			t.Errorf("%s: pod %s took the place of %s", key, now.Name, pod.Name)
		}
	}
}

func TestCheck31TwoResumesAtOnce(t *testing.T) {
	declare(t, realNode, 31)
	t.Parallel()
	api := keyedAPI("rotating")
	r := startReady(t, api, startBody(t, "v1c", newSession()))
	pause(t, api, r)
	apis, answers, errs := gateways("rotating"), make([]client.Runtime, 2), make([]error, 2)
	_ = inParallel(2, 2, func(i int) error { // the errors are judged one by one
		answers[i], errs[i] = apis[i%len(apis)].Resume(t.Context(), r.RuntimeID)
		return nil
	})
	ready := waitReady(t, api, r.SessionID)
	won := 0
	for i, err := range errs {
		switch {
		case err == nil:
			won++
			if answers[i].SessionAPIKey != ready.SessionAPIKey {
				t.Errorf("answer %d has another key than the sandbox", i)
			}
		case client.StatusOf(err) != http.StatusConflict: // the loser may be told 409
			t.Errorf("answer %d: %v", i, err)
		}
	}
	if won == 0 || ready.SessionAPIKey == r.SessionAPIKey {
		t.Errorf("%d resumes were accepted, new key: %t", won, ready.SessionAPIKey != r.SessionAPIKey)
	}
	onePod(t, suite.Namespace, ready)
	if _, err := agentOf(ready).WhoAmI(t.Context()); err != nil {
		t.Errorf("the sandbox refuses the answered key: %v", err)
	}
}

func TestCheck32ResumeOfUnknownAndStopped(t *testing.T) {
	declare(t, realNode, 32)
	t.Parallel()
	api := defaultAPI()
	for _, path := range []string{"/resume", "/pause"} {
		notFound(t, api, path, unknownID)
	}
	r := start(t, api, startBody(t, "v1a", newSession()))
	if err := api.Stop(t.Context(), r.RuntimeID); err != nil {
		t.Fatal(err)
	}
	notFound(t, api, "/resume", r.RuntimeID)

	failing := start(t, api, startBody(t, "v1a", newSession(), withEnv("STUB_CRASH_AFTER_MS", "0")))
	waitError(t, api, failing.SessionID)
	old := onePod(t, suite.Namespace, failing)
	resumed := try(api.Resume(t.Context(), failing.RuntimeID)).or(t)
	sameSandbox(t, "resumed from error", failing, resumed)
	if resumed.Status != "starting" {
		t.Errorf("resumed from error: status %s, want starting", resumed.Status)
	}
	waitFor(t, readyLimit, "a new pod takes the place of "+old.Name, func(context.Context) (string, bool) {
		pods := podsOf(t, suite.Namespace, failing)
		return fmt.Sprintf("%d pods", len(pods)), len(pods) == 1 && pods[0].UID != old.UID
	})
}

func notFound(t *testing.T, api client.API, path, runtimeID string) {
	t.Helper()
	answer := do(t, api.Caller, client.Request{Method: http.MethodPost, Path: path, Body: client.ByID(runtimeID)})
	if err := answer.Problem(http.StatusNotFound); err != nil {
		t.Errorf("%s of %s: %v", path, runtimeID, err)
	}
}
