//go:build system

package conformance_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/conformance"
	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

// The shared sandboxes belong to the default tenant and live as long as the
// run. Tests look at them and change nothing.
var (
	runningOnce = sync.OnceValues(func() (client.Runtime, error) { return shared("running") })
	pausedOnce  = sync.OnceValues(func() (client.Runtime, error) { return shared("paused") })
)

var sharedSessions struct {
	sync.Mutex
	ids       []string
	elsewhere []func(context.Context) error // ends those of other installations
}

func sharedRunning(t *testing.T) client.Runtime {
	t.Helper()
	return try(runningOnce()).or(t)
}

func sharedPaused(t *testing.T) client.Runtime {
	t.Helper()
	return try(pausedOnce()).or(t)
}

// shared does not use a test's context, which ends before the sandbox does.
func shared(status string) (client.Runtime, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*readyLimit)
	defer cancel()
	session := newSession()
	sharedSessions.Lock()
	sharedSessions.ids = append(sharedSessions.ids, session)
	sharedSessions.Unlock()
	r, err := startShared(ctx, session)
	if err == nil && status == "paused" {
		if _, err = defaultAPI().Pause(ctx, r.RuntimeID); err == nil {
			r, err = knownAs(ctx, session, status, visibleLimit)
		}
	}
	if err != nil {
		return r, fmt.Errorf("shared sandbox: %w", err)
	}
	return r, nil
}

func startShared(ctx context.Context, session string) (client.Runtime, error) {
	api := defaultAPI()
	body, err := conformance.Body("v1a", session, suite.SandboxImage)
	if err != nil {
		return client.Runtime{}, err
	}
	if _, err := api.Start(ctx, body); err != nil {
		return client.Runtime{}, err
	}
	return knownAs(ctx, session, "running", readyLimit)
}

// knownAs waits until all gateways say that the session has this status.
func knownAs(ctx context.Context, session, status string, limit time.Duration) (r client.Runtime, err error) {
	for _, api := range gateways("default") {
		err := client.Poll(ctx, pollEvery, limit, func(ctx context.Context) (string, bool) {
			var err error
			if r, err = api.Session(ctx, session); err != nil {
				return err.Error(), false
			}
			return fmt.Sprintf("%+v", r), r.Status == status
		})
		if err != nil {
			return r, err
		}
	}
	return r, nil
}

func stopShared() error {
	sharedSessions.Lock()
	defer sharedSessions.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var errs []error
	for _, session := range sharedSessions.ids {
		if err := stopSession(ctx, defaultAPI(), session); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", session, err))
		}
	}
	for _, stop := range sharedSessions.elsewhere {
		errs = append(errs, stop(ctx))
	}
	return joined(errs)
}
