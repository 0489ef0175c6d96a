//go:build system

package system_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

const (
	many        = 300
	manyWorkers = 16
)

// TestManySandboxes leads 300 sandboxes through start, list, pause, resume and
// stop over two gateways.
func TestManySandboxes(t *testing.T) { // alone: the cluster makes some ten of them a second, and others would wait
	r := newRig(t, "many", stack.Options{Gateways: 2, Provisioners: 2, Settings: []string{noPurge}})
	ids := make([]string, many)
	session := func(i int) string { return fmt.Sprintf("many-%03d", i) }
	step := func(name string, work func(i int, api client.API) error) {
		t.Helper()
		begin := time.Now()
		// An answer that is not 2xx, or late, is an error.
		if err := each(manyWorkers, many, func(i int) error { return work(i, r.api(i%2)) }); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Logf("%s of %d took %s", name, many, time.Since(begin).Round(10*time.Millisecond))
	}
	step("start", func(i int, api client.API) error {
		rt, err := api.Start(t.Context(), body(t, session(i)))
		ids[i] = rt.RuntimeID
		return err
	})
	r.lists(t, many)
	r.allReady(t)
	step("pause", func(i int, api client.API) error {
		rt, err := api.Pause(t.Context(), ids[i])
		if err == nil && rt.Status != "paused" {
			err = fmt.Errorf("pause answers %+v", rt)
		}
		return err
	})
	r.lists(t, 0)
	step("resume", func(i int, api client.API) error {
		_, err := api.Resume(t.Context(), ids[i])
		return err
	})
	r.lists(t, many)
	r.allReady(t)
	step("stop", func(i int, api client.API) error { return api.Stop(t.Context(), ids[i]) })
	r.lists(t, 0)
	r.waitHas(t, "")
	if got := r.records(t); got != many {
		t.Errorf("%d records, want the %d stopped ones", got, many)
	}
	for i := range many {
		if rec := r.record(t, session(i)); rec.Desired != "stopped" || len(rec.Spec.Environment) != 0 {
			t.Errorf("the record of %s wants %s", session(i), rec.Desired)
		}
	}
}

// allReady waits until every gateway lists all as running and ready.
func (r *rig) allReady(t *testing.T) {
	t.Helper()
	begin := time.Now()
	for _, api := range r.apis() {
		const every = 200 * time.Millisecond // a list of 300 is not small
		err := client.Poll(t.Context(), every, 3*waitLimit, func(ctx context.Context) (string, bool) {
			listed, err := api.List(ctx)
			ready := 0
			for _, rt := range listed {
				if rt.Status == "running" && rt.PodStatus == "ready" {
					ready++
				}
			}
			return fmt.Sprintf("%d of %d are ready (%v)", ready, many, err), err != nil || ready == many
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("all were ready %s later", time.Since(begin).Round(10*time.Millisecond))
}

// lists looks whether every gateway lists so many.
func (r *rig) lists(t *testing.T, want int) {
	t.Helper()
	for _, api := range r.apis() {
		waitFor(t, "a list of "+api.Base+" that is confirmed", func(ctx context.Context) (string, bool) {
			answer, err := api.Do(ctx, client.Request{Path: "/list"})
			if err != nil || !answer.OK() {
				t.Fatal(answer, err)
			}
			age := answer.Header.Get("Sandbar-View-Age")
			if age != "" {
				return "it is of " + age + " ms ago", false
			}
			listed, err := client.DecodeList(answer.Body)
			if err != nil || len(listed) != want {
				t.Errorf("%s lists %d, want %d (%v)", api.Base, len(listed), want, err)
			}
			return "", true
		})
	}
}
