//go:build system

package conformance_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

// workspace is where the volume of a sandbox is, whatever its working dir.
const workspace = "/workspace"

// pause pauses and looks at what the answering gateway says right after it.
func pause(t *testing.T, api client.API, r client.Runtime) {
	t.Helper()
	answer := try(api.Pause(t.Context(), r.RuntimeID)).or(t)
	read := try(api.Session(t.Context(), r.SessionID)).or(t)
	for what, now := range map[string]client.Runtime{"/pause": answer, "/sessions": read} {
		if now.Status != "paused" || now.URL != r.URL {
			t.Errorf("%s: %+v, want it paused, the URL %s unchanged", what, now, r.URL)
		}
	}
}

// resume resumes and waits until the sandbox serves again.
func resume(t *testing.T, api client.API, r client.Runtime) (answer client.Runtime) {
	t.Helper()
	answer = try(api.Resume(t.Context(), r.RuntimeID)).or(t)
	ready := waitReady(t, api, r.SessionID)
	if answer.URL != r.URL || ready.URL != r.URL || ready.RuntimeID != r.RuntimeID {
		t.Errorf("resumed as %+v, want id and URL of %+v", ready, r)
	}
	if ready.SessionAPIKey != answer.SessionAPIKey {
		t.Error("/sessions has another key than /resume answered")
	}
	return answer
}

func TestCheck11PauseReleasesComputeAndKeepsTheVolume(t *testing.T) {
	declare(t, realNode, 11)
	t.Parallel()
	r := startReady(t, defaultAPI(), startBody(t, "v1a", newSession()))
	pause(t, defaultAPI(), r)
	waitNoPod(t, r)
	volumes, err := volumesOf(t.Context(), r)
	if err != nil || len(volumes) != 1 {
		t.Errorf("volumes %q, %v; want the one of %s", volumes, err, r.RuntimeID)
	}
	still := try(defaultAPI().Session(t.Context(), r.SessionID)).or(t)
	if still.Status != "paused" || still.URL != r.URL {
		t.Errorf("without a pod: %+v, want it paused", still)
	}
}

func TestCheck11PauseWhileStarting(t *testing.T) {
	declare(t, realNode, 11)
	t.Parallel()
	r := start(t, defaultAPI(), startBody(t, "v1a", newSession(), neverReady))
	pause(t, defaultAPI(), r)
	waitNoPod(t, r)
}

func TestCheck12And14ResumeBringsAllBack(t *testing.T) {
	declare(t, realNode, 12, 14)
	t.Parallel()
	r := startReady(t, defaultAPI(), startBody(t, "v1a", newSession(), withEnv("CLIENTS_OWN", "a b")))
	before := agentOf(r)
	if err := before.Write(t.Context(), workspace, "project/notes.txt", "kept"); err != nil {
		t.Fatal(err)
	}
	argv := try(before.Argv(t.Context())).or(t)
	pause(t, defaultAPI(), r)
	resumed := resume(t, defaultAPI(), r)
	if resumed.SessionAPIKey != r.SessionAPIKey {
		t.Error("the key changed, though rotation is off for this API key")
	}
	after := agentOf(r) // with the old key, as V0 and SDK go on
	if text := try(after.Read(t.Context(), workspace, "project/notes.txt")).or(t); text != "kept" {
		t.Errorf("the file holds %q", text)
	}
	if now := try(after.Argv(t.Context())).or(t); !slices.Equal(now, argv) {
		t.Errorf("resumed with the command %q, want %q", now, argv)
	}
	if value, _, err := after.Variable(t.Context(), "CLIENTS_OWN"); err != nil || value != "a b" {
		t.Errorf("the client's variable is %q, %v", value, err)
	}
	who := try(after.WhoAmI(t.Context())).or(t)
	if who.UID != 10001 || who.GID != 10001 {
		t.Errorf("resumed as %+v, want user and group 10001", who)
	}
}

func TestCheck13KeyRotation(t *testing.T) {
	declare(t, realNode, 13)
	t.Parallel()
	api := keyedAPI("rotating")
	r := startReady(t, api, startBody(t, "v1c", newSession()))
	pause(t, api, r)
	resumed := resume(t, api, r)
	if resumed.SessionAPIKey == r.SessionAPIKey {
		t.Fatal("the key is the old one")
	}
	for i, gateway := range gateways("rotating") {
		now := try(gateway.Session(t.Context(), r.SessionID)).or(t)
		if now.SessionAPIKey != resumed.SessionAPIKey {
			t.Errorf("gateway %d: /sessions has another key than /resume answered", i)
		}
	}
	for what, test := range map[string]struct {
		key  string
		want int
	}{"new": {resumed.SessionAPIKey, http.StatusOK}, "old": {r.SessionAPIKey, http.StatusUnauthorized}} {
		agent := client.NewAgent(suite.http, r.URL, test.key)
		if answer := do(t, agent.Caller, client.Request{Path: "/whoami"}); answer.Status != test.want {
			t.Errorf("the %s key: %s, want %d", what, answer, test.want)
		}
	}
}

// A V0 client with keep_runtime_alive finds its sandbox paused by its 503, resumes it,
// polls, and repeats the request.
func TestCheck25V0ResumesOn503(t *testing.T) {
	declare(t, realNode, 25)
	t.Parallel()
	byEachWay(t, v0ResumesOn503)
}

func v0ResumesOn503(t *testing.T, e entrance) {
	api := e.api()
	r := startReady(t, api, startBody(t, "v0", newSession()))
	v0 := e.agent(r.URL, r)
	v0.Header.Set("X-API-Key", e.key) // V0 sends both keys everywhere
	request := client.Request{Method: http.MethodPost, Path: "/execute_action", Body: map[string]any{"action": "run"}}
	if answer := do(t, v0.Caller, request); !answer.OK() {
		t.Fatalf("before: %s", answer)
	}
	pause(t, api, r)
	e.waitAnswer(t, v0.Caller, request, http.StatusServiceUnavailable)
	if _, err := api.Resume(t.Context(), r.RuntimeID); err != nil {
		t.Fatal(err)
	}
	waitFor(t, readyLimit, "V0's poll says ready", func(ctx context.Context) (string, bool) {
		now, err := api.Runtime(ctx, r.RuntimeID)
		if err != nil {
			t.Fatal(err) // V0 does not survive one
		}
		return fmt.Sprintf("%+v", now), now.PodStatus == "ready"
	})
	e.aliveNow(t, r)
	if answer := do(t, v0.Caller, request); !answer.OK() {
		t.Errorf("repeated: %s", answer)
	}
}

// waitAnswer waits until the router knows the last change: it may be 250 ms
// behind the gateway.
func waitAnswer(t *testing.T, c client.Caller, r client.Request, status int) client.Answer {
	t.Helper()
	return waitAnswerFrom(t, "the router", visibleLimit, c, r, status)
}

// waitAnswer waits until who leads there knows the last change. A controller learns
// from Kubernetes, not from us, that a pod has gone, and answers 502 till then.
func (e entrance) waitAnswer(t *testing.T, c client.Caller, r client.Request, status int) client.Answer {
	t.Helper()
	if e.router {
		return waitAnswer(t, c, r, status)
	}
	began := time.Now()
	answer := waitAnswerFrom(t, "the controller of "+e.name, controllerLimit, c, r, status)
	t.Logf("%s answered %d after %s", e.name, status, time.Since(began).Round(time.Millisecond))
	return answer
}

func waitAnswerFrom(t *testing.T, who string, limit time.Duration, c client.Caller, r client.Request, status int) client.Answer {
	t.Helper()
	var answer client.Answer
	waitFor(t, limit, fmt.Sprintf("%s answers %d", who, status), func(ctx context.Context) (string, bool) {
		var err error
		if answer, err = c.Do(ctx, r); err != nil {
			return err.Error(), false
		}
		return answer.String(), answer.Status == status
	})
	return answer
}
