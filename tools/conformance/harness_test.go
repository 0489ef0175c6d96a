//go:build system

package conformance_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/conformance"
	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

// Bounds of waits, for a machine of 2 cores that runs three tests at once.
const (
	pollEvery    = 50 * time.Millisecond
	readyLimit   = 90 * time.Second // a sandbox takes 1 to 2 s there when it is alone
	goneLimit    = 90 * time.Second // the kubelet's own pace of ending a pod and freeing its volume
	visibleLimit = 5 * time.Second  // a change on other gateways and routers: 250 ms are promised
	cleanupLimit = 30 * time.Second
	// The pace of Kubernetes' endpoints and of a controller that writes the status
	// of each route before it leads anywhere.
	controllerLimit = 30 * time.Second
)

// newSession is a session id that no run has used before. As it is a DNS
// label, it is also the sandbox's host label.
func newSession() string { return "conf-" + nonce() }

func nonce() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return hex.EncodeToString(b[:])
}

// startBody is the start body of a client, changed by mods.
func startBody(t testing.TB, name, session string, mods ...func(map[string]any)) map[string]any {
	t.Helper()
	body, err := conformance.Body(name, session, suite.SandboxImage)
	if err != nil {
		t.Fatal(err)
	}
	for _, mod := range mods {
		mod(body)
	}
	return body
}

func with(field string, value any) func(map[string]any) {
	return func(body map[string]any) { body[field] = value }
}

func without(field string) func(map[string]any) {
	return func(body map[string]any) { delete(body, field) }
}

// withEnv adds a variable to those that the client sends.
func withEnv(name string, value any) func(map[string]any) {
	return func(body map[string]any) {
		environment, _ := body["environment"].(map[string]any)
		environment = maps.Clone(environment)
		if environment == nil {
			environment = map[string]any{}
		}
		environment[name] = value
		body["environment"] = environment
	}
}

// readyAfter keeps a sandbox unready for a time, so that a test can look at it
// while it starts.
func readyAfter(d time.Duration) func(map[string]any) {
	return withEnv("STUB_READY_AFTER_MS", fmt.Sprint(d.Milliseconds()))
}

// neverReady keeps a sandbox starting for as long as the server is patient with
// an image that cannot be pulled.
func neverReady(body map[string]any) { body["image"] = suite.MissingImage }

// start posts body to /start and stops at the end of the test whatever then
// lives under its session.
func start(t *testing.T, api client.API, body map[string]any) client.Runtime {
	t.Helper()
	stopAtEnd(t, api, body)
	r, err := api.Start(t.Context(), body)
	if err != nil {
		t.Fatal(err)
	}
	if r.Status != "starting" && r.Status != "running" {
		t.Fatalf("start answers %+v, want starting or running", r)
	}
	return r
}

func stopAtEnd(t *testing.T, api client.API, body map[string]any) {
	t.Helper()
	session, _ := body["session_id"].(string)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), cleanupLimit)
		defer cancel()
		if err := stopSession(ctx, api, session); err != nil {
			t.Errorf("cleanup of %q: %v", session, err)
		}
	})
}

// stopSession stops what lives under a session. It asks by batch, because a
// session called "batch" has no path of its own.
func stopSession(ctx context.Context, api client.API, session string) error {
	all, err := api.Batch(ctx, session)
	if err != nil || all[0] == nil || all[0].Status == "stopped" {
		return err
	}
	if err := api.Stop(ctx, all[0].RuntimeID); client.StatusOf(err) != http.StatusNotFound {
		return err
	}
	return nil
}

// startReady starts a sandbox and waits until it serves.
func startReady(t *testing.T, api client.API, body map[string]any) client.Runtime {
	t.Helper()
	return waitReady(t, api, start(t, api, body).SessionID)
}

// waitReady polls a session as clients do, until it is running. An answer that
// is fatal for them is fatal here.
func waitReady(t *testing.T, api client.API, session string) client.Runtime {
	t.Helper()
	return waitStatus(t, api, session, "running", "ready")
}

// waitStatus polls a session until it has this status and pod status.
func waitStatus(t *testing.T, api client.API, session, status, podStatus string) client.Runtime {
	t.Helper()
	var r client.Runtime
	waitFor(t, readyLimit, fmt.Sprintf("%s is %s and %s", session, status, podStatus), func(ctx context.Context) (string, bool) {
		var err error
		if r, err = api.Session(ctx, session); err != nil {
			if ctx.Err() == nil {
				t.Fatalf("poll of %s: %v", session, err)
			}
			return err.Error(), false
		}
		if r.Status == "error" && status != "error" {
			t.Fatalf("poll of %s: %+v", session, r)
		}
		return fmt.Sprintf("%+v", r), r.Status == status && r.PodStatus == podStatus
	})
	return r
}

// waitFor looks until it is done, and fails with what was seen last.
func waitFor(t *testing.T, limit time.Duration, what string, look func(context.Context) (seen string, done bool)) {
	t.Helper()
	if err := client.Poll(t.Context(), pollEvery, limit, look); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// do sends a request and fails where there is no answer.
func do(t *testing.T, c client.Caller, r client.Request) client.Answer {
	t.Helper()
	answer, err := c.Do(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// try and or are for calls whose failure ends the test: try(f()).or(t).
func try[T any](value T, err error) result[T] { return result[T]{value, err} }

type result[T any] struct {
	value T
	err   error
}

func (r result[T]) or(t *testing.T) T {
	t.Helper()
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.value
}

// inParallel runs n pieces of work on so many workers, and returns their errors.
func inParallel(workers, n int, work func(i int) error) error {
	errs := make([]error, n)
	next := make(chan int)
	var all sync.WaitGroup
	for range min(workers, n) {
		all.Go(func() {
			for i := range next {
				errs[i] = work(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	all.Wait()
	failed := slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	const told = 5 // of what may be thousands of the same
	if more := len(failed) - told; more > 0 {
		failed = append(failed[:told], fmt.Errorf("and %d more", more))
	}
	return joined(failed)
}
