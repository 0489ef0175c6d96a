//go:build system

package system_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

// traffic asks at fixed times, whatever became of what was asked before, and takes
// no answer but the right one: no 5xx, no connection that broke.
type traffic struct {
	all  sync.WaitGroup
	stop context.CancelFunc

	mu    sync.Mutex
	asked map[string]int
	wrong []error
}

func newTraffic(t *testing.T) (*traffic, context.Context) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	tr := &traffic{stop: cancel, asked: map[string]int{}}
	t.Cleanup(func() { cancel(); tr.all.Wait() })
	return tr, ctx
}

// every does something at fixed times. What has begun comes to its end.
func (tr *traffic) every(ctx context.Context, gap time.Duration, kind string, do func(ctx context.Context, n int) error) {
	tr.all.Go(func() {
		tick := time.NewTicker(gap)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				tr.all.Go(func() { tr.note(kind, do(context.WithoutCancel(ctx), n)) })
			}
		}
	})
}

func (tr *traffic) note(kind string, err error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.asked[kind]++
	if err != nil {
		tr.wrong = append(tr.wrong, fmt.Errorf("%s, %s: %w", time.Now().Format("15:04:05.000"), kind, err))
	}
}

// end stops asking and waits for what is under way. What was wrong fails the test.
func (tr *traffic) end(t *testing.T) {
	t.Helper()
	tr.stop()
	tr.all.Wait()
	t.Logf("asked %v", tr.asked)
	for _, err := range tr.wrong[:min(len(tr.wrong), 10)] {
		t.Error(err)
	}
	if n := len(tr.wrong); n > 10 {
		t.Errorf("and %d more", n-10)
	}
}

// read asks a gateway for sandboxes that do not change, each time in another way.
func read(ctx context.Context, api client.API, n int, live, ids map[string]string) error {
	sessions := slices.Sorted(maps.Keys(live))
	session := sessions[n%len(sessions)]
	switch n % 4 {
	case 0:
		rt, err := api.Session(ctx, session)
		if err == nil {
			err = unlike(nil, rt.Status, live[session], session)
		}
		return err
	case 1:
		_, err := api.Runtime(ctx, ids[session])
		return err
	case 2:
		all, err := api.Batch(ctx, sessions...)
		if err == nil && slices.Contains(all, nil) {
			err = fmt.Errorf("a batch of %q is %v", sessions, all)
		}
		return err
	}
	listed, err := api.List(ctx)
	if _, there := listed[session]; err == nil && there != (live[session] == "running") {
		err = fmt.Errorf("/list holds the %s %s: %t", live[session], session, there)
	}
	return err
}

// wholeTime leads one sandbox through a whole life and waits for each state.
func wholeTime(ctx context.Context, api client.API, session, image string) (id string, err error) {
	rt, err := api.Start(ctx, map[string]any{"session_id": session, "image": image, "command": "/agentstub"})
	if err != nil {
		return "", err
	}
	id = rt.RuntimeID
	if err := reaches(ctx, api, session, "running"); err != nil {
		return id, err
	}
	if rt, err = api.Pause(ctx, id); err != nil || rt.Status != "paused" {
		return id, fmt.Errorf("pause: %+v, %w", rt, err)
	}
	if rt, err = api.Resume(ctx, id); err != nil || rt.RuntimeID != id {
		return id, fmt.Errorf("resume: %+v, %w", rt, err)
	}
	if err := reaches(ctx, api, session, "running"); err != nil {
		return id, err
	}
	return id, api.Stop(ctx, id)
}

// reaches waits until a session has a status; any refusal on the way is an error. Only
// a gateway that the start did not go through may not be able to tell for a moment.
func reaches(ctx context.Context, api client.API, session, status string) error {
	var failed error
	poll := client.Poll(ctx, 100*time.Millisecond, waitLimit, func(ctx context.Context) (string, bool) {
		rt, err := api.Session(ctx, session)
		if client.Unconfirmed(err) {
			return err.Error(), false
		}
		failed = err
		return fmt.Sprintf("%+v", rt), err != nil || rt.Status == status && (status != "running" || rt.PodStatus == "ready")
	})
	if failed != nil {
		return failed
	}
	return poll
}

// streamed reads a stream of events to its end.
func streamed(ctx context.Context, agent client.Agent, count int, gap time.Duration) error {
	answer, err := agent.Do(ctx, client.Request{Path: fmt.Sprintf("/sse?count=%d&interval_ms=%d", count, gap.Milliseconds())})
	if err != nil {
		return err
	}
	if n := bytes.Count(answer.Body, []byte("data: ")); answer.Status != http.StatusOK || n != count {
		return fmt.Errorf("a stream of %d events ended after %d: %s", count, n, answer)
	}
	return nil
}
