//go:build system

package conformance_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

// Said to be ready before the router or the controller can lead there, a sandbox is
// lost for V0, which takes a 404, 502 or 504 from /alive for the end.

func TestCheck06RunningAndReadyAppearTogether(t *testing.T) {
	declare(t, realNode, 6)
	t.Parallel()
	byEachWay(t, runningAndReadyAppearTogether)
}

func runningAndReadyAppearTogether(t *testing.T, e entrance) {
	started := start(t, e.api(), startBody(t, "v1a", newSession(), readyAfter(time.Second)))
	apis, polls := e.apis, 0
	waitFor(t, readyLimit, "the sandbox is ready", func(ctx context.Context) (string, bool) {
		// client.DecodeRuntime refuses one word without the other.
		polls++
		r, err := readBy(ctx, apis[polls/endpoints%len(apis)], started, polls%endpoints)
		if err != nil {
			t.Fatal(err)
		}
		if r.Status == "running" {
			e.aliveNow(t, r)
		}
		return fmt.Sprintf("%+v", r), r.Status == "running"
	})
}

const endpoints = 4 // that read a sandbox

// readBy reads a sandbox by one of the endpoints.
func readBy(ctx context.Context, api client.API, r client.Runtime, endpoint int) (client.Runtime, error) {
	switch endpoint {
	case 0:
		return api.Session(ctx, r.SessionID)
	case 1:
		return api.Runtime(ctx, r.RuntimeID)
	case 2:
		all, err := api.Batch(ctx, r.SessionID)
		if err == nil && all[0] == nil {
			err = fmt.Errorf("batch does not know %s", r.SessionID)
		}
		if err != nil {
			return client.Runtime{}, err
		}
		return *all[0], nil
	default:
		all, err := api.List(ctx)
		listed, there := all[r.SessionID]
		if err == nil && !there {
			err = fmt.Errorf("list does not hold %s", r.SessionID)
		}
		return listed, err
	}
}

func TestCheck07NoReadyBeforeRoute(t *testing.T) {
	declare(t, realNode, 7)
	t.Parallel()
	byEachWay(t, noReadyBeforeRoute)
}

// notReadyFor is longer than a busy kubelet takes to tell that a container runs.
const notReadyFor = 8 * time.Second

func noReadyBeforeRoute(t *testing.T, e entrance) {
	started := start(t, e.api(), startBody(t, "v1a", newSession(), readyAfter(notReadyFor)))
	sawRunningPod := false
	waitFor(t, readyLimit, "the sandbox is ready", func(ctx context.Context) (string, bool) {
		// The way in first: it must not be behind what the API says afterwards.
		answer, err := e.agent(started.URL, started).Do(ctx, client.Request{Path: "/alive", Bare: true})
		if err != nil {
			t.Fatal(err)
		}
		r, err := e.api().Session(ctx, started.SessionID)
		if err != nil {
			t.Fatal(err)
		}
		sawRunningPod = sawRunningPod || r.PodStatus == "running"
		switch {
		case r.Status == "running":
			e.aliveNow(t, r)
		// A controller knows nothing of a sandbox that is not ready, so it may say 404.
		case e.router && answer.Status != http.StatusServiceUnavailable && !answer.OK(): // it may know sooner than the API
			t.Fatalf("while %s and %s: %s, want 503", r.Status, r.PodStatus, answer)
		}
		return fmt.Sprintf("%+v", r), r.Status == "running"
	})
	if !sawRunningPod {
		t.Errorf("%s of a container that ran and was not ready were never shown as starting and running", notReadyFor)
	}
}
