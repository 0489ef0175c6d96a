//go:build system

package system_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

// readers read everything on all gateways, again and again.
type readers struct {
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu                   sync.Mutex
	answers, unavailable int
	wrong                []error
}

// ask begins to read: live is session → status, which must not change.
func (r *rig) ask(t *testing.T, live map[string]string) *readers {
	t.Helper()
	ids := map[string]string{}
	for session := range live {
		ids[session] = r.record(t, session).RuntimeID
	}
	ctx, cancel := context.WithCancel(t.Context())
	a := &readers{cancel: cancel}
	for _, api := range r.apis() {
		a.all.Go(func() {
			for ctx.Err() == nil {
				askOnce(context.WithoutCancel(ctx), api, live, ids, a.note)
			}
		})
	}
	t.Cleanup(func() { cancel(); a.all.Wait() })
	return a
}

func (a *readers) note(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers++
	switch {
	case client.StatusOf(err) == http.StatusServiceUnavailable:
		a.unavailable++
	case err != nil:
		a.wrong = append(a.wrong, err)
	}
}

func (a *readers) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.answers
}

// end stops reading. An answer that was wrong fails the test.
func (a *readers) end(t *testing.T) (answers, unavailable int) {
	t.Helper()
	a.cancel()
	a.all.Wait()
	if len(a.wrong) > 0 {
		t.Errorf("%d of %d answers were wrong, the first: %v", len(a.wrong), a.answers, a.wrong[0])
	}
	return a.answers, a.unavailable
}

func askOnce(ctx context.Context, api client.API, live, ids map[string]string, note func(error)) {
	sessions := slices.Sorted(maps.Keys(live))
	for _, session := range sessions {
		rt, err := api.Session(ctx, session)
		note(errors.Join(err, unlike(err, rt.Status, live[session], session)))
		rt, err = api.Runtime(ctx, ids[session])
		note(errors.Join(err, unlike(err, rt.Status, live[session], session)))
	}
	listed, err := api.List(ctx)
	for _, session := range sessions {
		if _, there := listed[session]; err == nil && there != (live[session] == "running") {
			err = fmt.Errorf("/list holds the %s %s: %t", live[session], session, there)
		}
	}
	note(err)
	batch, err := api.Batch(ctx, sessions...)
	for i, rt := range batch {
		if rt == nil {
			err = errors.Join(err, fmt.Errorf("batch: null for %s", sessions[i]))
		} else {
			err = errors.Join(err, unlike(nil, rt.Status, live[sessions[i]], sessions[i]))
		}
	}
	note(err)
}

func unlike(err error, got, want, session string) error {
	if err != nil || got == want {
		return nil
	}
	return fmt.Errorf("%s is shown as %s, want %s", session, got, want)
}
