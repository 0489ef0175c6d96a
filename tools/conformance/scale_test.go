//go:build system

package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sandbar-io/sandbar/tools/conformance"
	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

const (
	manyRuntimes = 2000
	manyStops    = 200
	manyWorkers  = 16
	// About 30 a second are made and stopped on 2 cores that have nothing else to do, so
	// each way takes little more than a minute.
	manyLimit = 8 * time.Minute
	fastLimit = 2 * time.Second
)

// TestCheck22And35ManyRuntimes is one test, because making so many takes most
// of its time; and not parallel, because it measures. That reading costs no
// call of Kubernetes holds by construction: the gateway has no right there and
// links no client.
func TestCheck22And35ManyRuntimes(t *testing.T) {
	declare(t, simulated, 22, 35)
	api, run := simulatedAPI(t), newSession()
	ctx, cancel := context.WithTimeout(t.Context(), manyLimit)
	defer cancel()
	sessions := make([]string, manyRuntimes)
	for i := range sessions {
		sessions[i] = fmt.Sprintf("%s-%04d", run, i)
	}
	t.Cleanup(func() { stopMany(t, api, sessions) })

	begin, made := time.Now(), make([]client.Runtime, manyRuntimes)
	var failed atomic.Bool
	err := inParallel(manyWorkers, manyRuntimes, func(i int) error {
		if failed.Load() { // one failure must not cost the time of all
			return nil
		}
		body, err := conformance.Body("v1a", sessions[i], suite.SandboxImage)
		if err == nil {
			made[i], err = api.Start(ctx, body)
		}
		if err != nil {
			failed.Store(true)
		}
		return err
	})
	if err != nil {
		t.Fatalf("%d starts: %v", manyRuntimes, err)
	}
	t.Logf("%d runtimes made in %s", manyRuntimes, time.Since(begin).Round(time.Second))
	for range 3 {
		fastList(t, api, made)
		fastBatch(t, api, made)
	}

	begin = time.Now()
	err = inParallel(manyWorkers, manyStops, func(i int) error { return api.Stop(ctx, made[i].RuntimeID) })
	if err != nil {
		t.Fatalf("%d stops: %v", manyStops, err)
	}
	t.Logf("%d runtimes stopped in %s", manyStops, time.Since(begin).Round(time.Second))
	listed := try(api.List(t.Context())).or(t)
	for i, session := range sessions {
		if _, there := listed[session]; there == (i < manyStops) {
			t.Fatalf("after %d stops: %s, number %d, is in /list: %t", manyStops, session, i, there)
		}
	}
}

func fastList(t *testing.T, api client.API, made []client.Runtime) {
	t.Helper()
	answer := do(t, api.Caller, client.Request{Path: "/list"})
	listed, err := client.DecodeList(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, r := range listed {
		ids[r.RuntimeID] = true
	}
	for _, r := range made {
		if !ids[r.RuntimeID] {
			t.Fatalf("/list of %d lacks %s", len(listed), r.SessionID)
		}
	}
	t.Logf("/list of %d took %s", len(listed), answer.Took)
	if answer.Took > fastLimit {
		t.Errorf("/list of %d took %s, want at most %s", len(listed), answer.Took, fastLimit)
	}
}

func fastBatch(t *testing.T, api client.API, made []client.Runtime) {
	t.Helper()
	var sessions []string
	for i := 0; i < len(made); i += len(made) / 100 {
		sessions = append(sessions, made[i].SessionID)
	}
	begin := time.Now()
	for i, r := range try(api.Batch(t.Context(), sessions...)).or(t) {
		if r == nil {
			t.Errorf("batch does not know %s", sessions[i])
		}
	}
	took := time.Since(begin) // decoding included
	t.Logf("batch of %d took %s", len(sessions), took)
	if took > fastLimit {
		t.Errorf("batch of %d took %s, want at most %s", len(sessions), took, fastLimit)
	}
}

// stopMany stops what is left of the sessions, a failed start's among them.
func stopMany(t *testing.T, api client.API, sessions []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), manyLimit)
	defer cancel()
	listed, err := api.List(ctx)
	if err != nil {
		t.Errorf("cleanup: %v", err)
		return
	}
	var left []client.Runtime
	for _, session := range sessions {
		if r, there := listed[session]; there {
			left = append(left, r)
		}
	}
	begin := time.Now()
	// Of 1,800 one or the other may be answered "unknown" on two cores that others use
	// too, and is told again. The stops that are measured are not.
	var again atomic.Int64
	err = inParallel(manyWorkers, len(left), func(i int) error {
		err := api.Stop(ctx, left[i].RuntimeID)
		if client.StatusOf(err) == http.StatusGatewayTimeout {
			again.Add(1)
			err = api.Stop(ctx, left[i].RuntimeID)
		}
		return err
	})
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("not within %s: %w", manyLimit, err)
	}
	if err != nil {
		t.Errorf("cleanup: %d stops: %v", len(left), err)
	}
	t.Logf("the other %d stopped in %s, %d of them told twice", len(left), time.Since(begin).Round(time.Second), again.Load())
	settle(context.WithoutCancel(t.Context()), t)
}

// settle waits until Kubernetes has let go of the volumes as well. Its controllers do
// that long after the last stop is answered, and until then a volume of any other test
// waits behind them, to be bound or to be gone.
func settle(ctx context.Context, t *testing.T) {
	t.Helper()
	const every, limit = 2 * time.Second, manyLimit
	begin, core := time.Now(), suite.kube.CoreV1()
	err := client.Poll(ctx, every, limit, func(ctx context.Context) (string, bool) {
		claims, err := core.PersistentVolumeClaims(suite.Simulated.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err.Error(), false
		}
		going := 0
		for i := range claims.Items {
			if claims.Items[i].DeletionTimestamp != nil {
				going++
			}
		}
		volumes, err := core.PersistentVolumes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err.Error(), false
		}
		for i := range volumes.Items {
			v := &volumes.Items[i]
			if v.DeletionTimestamp != nil || v.Status.Phase == corev1.VolumeReleased {
				going++
			}
		}
		return fmt.Sprintf("%d claims and volumes are on their way", going), going == 0
	})
	if err != nil {
		t.Errorf("cleanup: %v", err)
	}
	t.Logf("their volumes were gone %s later", time.Since(begin).Round(time.Second))
}
