//go:build system

package conformance_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

func TestCheck18BatchIsPositional(t *testing.T) {
	declare(t, realNode, 18)
	t.Parallel()
	running, paused, unknown := sharedRunning(t), sharedPaused(t), newSession()
	for i, api := range gateways("default") {
		all := try(api.Batch(t.Context(), unknown, running.SessionID, paused.SessionID)).or(t)
		if all[0] != nil {
			t.Errorf("gateway %d: unknown session is %+v, want null", i, *all[0])
		}
		if all[1] == nil || all[2] == nil {
			t.Fatalf("gateway %d: got %v, want null and two runtimes", i, all)
		}
		sameSandbox(t, fmt.Sprintf("gateway %d, running", i), running, *all[1])
		sameSandbox(t, fmt.Sprintf("gateway %d, paused", i), paused, *all[2])
		if all[1].Status != "running" || all[2].Status != "paused" {
			t.Errorf("gateway %d: %s and %s, want running and paused", i, all[1].Status, all[2].Status)
		}
	}
}

func TestCheck55SessionCalledBatch(t *testing.T) {
	declare(t, realNode, 55)
	t.Parallel()
	api := defaultAPI()
	empty := func(when string) {
		t.Helper()
		for _, path := range []string{"/sessions/batch", "/sessions/batch?", "/sessions/batch?foo=1"} {
			answer := do(t, api.Caller, client.Request{Path: path})
			if got := strings.TrimSpace(string(answer.Body)); answer.Status != http.StatusOK || got != "[]" {
				t.Errorf("%s: %s, want []", when, answer)
			}
		}
	}
	empty("no such session")
	started := start(t, api, startBody(t, "v1a", "batch", neverReady))
	empty("a session of this name")
	all := try(api.Batch(t.Context(), "batch")).or(t)
	if all[0] == nil || all[0].RuntimeID != started.RuntimeID {
		t.Errorf("batch of batch: %+v, want %s", all[0], started.RuntimeID)
	}
}

func TestCheck56BatchWithCommasAndDuplicates(t *testing.T) {
	declare(t, realNode, 56)
	t.Parallel()
	r1, r2, unknown := sharedRunning(t).SessionID, sharedPaused(t).SessionID, newSession()
	for name, test := range map[string]struct {
		query url.Values
		want  []string
	}{
		"commas":            {url.Values{"ids": {r1 + "," + unknown + "," + r2}}, []string{r1, "", r2}},
		"duplicates":        {url.Values{"ids": {r1, r2, r1, unknown, unknown}}, []string{r1, r2, r1, "", ""}},
		"both":              {url.Values{"ids": {r2 + "," + r2, r1}}, []string{r2, r2, r1}},
		"another parameter": {url.Values{"ids": {r1}, "id": {r2}}, []string{r1}},
		"only unknown":      {url.Values{"ids": {unknown}}, []string{""}},
	} {
		answer := do(t, defaultAPI().Caller, client.Request{Path: "/sessions/batch?" + test.query.Encode()})
		all, err := client.DecodeBatch(answer.Body)
		if err != nil || answer.Status != http.StatusOK {
			t.Fatalf("%s: %s: %v", name, answer, err)
		}
		var got []string
		for _, r := range all {
			if r == nil {
				got = append(got, "")
				continue
			}
			got = append(got, r.SessionID)
		}
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", test.want) {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

// everywhere reads a sandbox by all endpoints of all gateways; client.API says
// what is wrong with any of the objects. A stopped one may be a 404 or a null.
func everywhere(t *testing.T, want client.Runtime) {
	t.Helper()
	listed := want.Status == "starting" || want.Status == "running"
	for i, api := range gateways("default") {
		where := fmt.Sprintf("%s on gateway %d", want.Status, i)
		if r, err := api.Session(t.Context(), want.SessionID); err == nil {
			samePhase(t, where+", /sessions", want, r)
		} else if want.Status != "stopped" || client.StatusOf(err) != http.StatusNotFound {
			t.Errorf("%s: %v", where, err)
		}
		if r, err := api.Runtime(t.Context(), want.RuntimeID); err == nil {
			samePhase(t, where+", /runtime", want, r)
		} else if want.Status != "stopped" || client.StatusOf(err) != http.StatusNotFound {
			t.Errorf("%s: %v", where, err)
		}
		if all := try(api.Batch(t.Context(), want.SessionID)).or(t); all[0] != nil {
			samePhase(t, where+", batch", want, *all[0])
		} else if want.Status != "stopped" {
			t.Errorf("%s: batch does not know it", where)
		}
		r, found := try(api.List(t.Context())).or(t)[want.SessionID]
		if found != listed {
			t.Errorf("%s: in /list: %t, want %t", where, found, listed)
		}
		if found {
			samePhase(t, where+", /list", want, r)
		}
	}
}

func samePhase(t *testing.T, where string, want, got client.Runtime) {
	t.Helper()
	if got.RuntimeID != want.RuntimeID || got.URL != want.URL || got.Status != want.Status {
		t.Errorf("%s: %+v, want what %+v is", where, got, want)
	}
	if want.Status != "stopped" && got.SessionAPIKey != want.SessionAPIKey {
		t.Errorf("%s: another session key than before", where)
	}
}

// phases leads sandboxes into every phase: by status, what the API said of it.
func phases(t *testing.T) map[string]client.Runtime {
	t.Helper()
	api := defaultAPI()
	starting := start(t, api, startBody(t, "v1a", newSession(), neverReady))
	failing := start(t, api, startBody(t, "v1a", newSession(), withEnv("STUB_CRASH_AFTER_MS", "0")))
	running := startReady(t, api, startBody(t, "v1a", newSession()))
	stopped := start(t, api, startBody(t, "v1a", newSession()))
	paused := startReady(t, api, startBody(t, "v1a", newSession()))
	if err := api.Stop(t.Context(), stopped.RuntimeID); err != nil {
		t.Fatal(err)
	}
	stopped.Status, stopped.PodStatus = "stopped", "not found"
	return map[string]client.Runtime{
		"starting": starting, "running": running, "stopped": stopped,
		"paused": try(api.Pause(t.Context(), paused.RuntimeID)).or(t),
		"error":  waitError(t, api, failing.SessionID),
	}
}

// waitError waits until a sandbox that crashes is told to have failed.
func waitError(t *testing.T, api client.API, session string) client.Runtime {
	t.Helper()
	var r client.Runtime
	waitFor(t, readyLimit, session+" is in error", func(ctx context.Context) (string, bool) {
		var err error
		if r, err = api.Session(ctx, session); err != nil {
			return err.Error(), false
		}
		return fmt.Sprintf("%+v", r), r.Status == "error"
	})
	return r
}

func TestCheck20And21FieldsAndListInEveryPhase(t *testing.T) {
	declare(t, realNode, 20, 21)
	t.Parallel()
	for status, r := range phases(t) {
		if r.Status != status {
			t.Errorf("%+v is not %s", r, status)
		}
		// The other gateways have 250 ms to see the last change.
		waitFor(t, visibleLimit, "all gateways know it to be "+status, func(ctx context.Context) (string, bool) {
			for i, api := range gateways("default") {
				all, err := api.Batch(ctx, r.SessionID)
				if err != nil {
					return err.Error(), false
				}
				if all[0] != nil && all[0].Status != status {
					return fmt.Sprintf("gateway %d: %+v", i, *all[0]), false
				}
			}
			return "", true
		})
		everywhere(t, r)
		resumed, err := defaultAPI().Resume(t.Context(), r.RuntimeID)
		if (err != nil) != (status == "stopped") { // the object of /resume is one of check 20's
			t.Errorf("resume of what is %s: %+v, %v", status, resumed, err)
		}
	}
}
