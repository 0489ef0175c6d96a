//go:build system

package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

// The keys of the testbed that have limits, and what they may.
const (
	limitedSandboxes = 10
	hurriedStarts    = 3 // in a minute
)

// refused checks a refusal by a key's limits: the sentence that clients match
// whole, and what is full.
func refused(t *testing.T, err error, full int, resource string) {
	t.Helper()
	text := fmt.Sprintf("Active runtime capacity (%d) is exhausted for this key; pause or stop a running sandbox before retrying", full)
	body := refusal(t, err, http.StatusBadRequest)
	if body["detail"] != text || body["error"] != "quota_exceeded" || body["resource"] != resource {
		t.Errorf("refused with %v, want %q and %s", body, text, resource)
	}
}

func refusal(t *testing.T, err error, status int) map[string]any {
	t.Helper()
	var e *client.StatusError
	if !errors.As(err, &e) || e.Answer.Status != status {
		t.Errorf("want a refusal with %d: %v", status, err)
		return nil
	}
	var body map[string]any
	if err := e.Answer.Decode(&body); err != nil {
		t.Error(err)
	}
	return body
}

// podsOfTenant counts the pods of a tenant that are not ending.
func podsOfTenant(t *testing.T, tenant string) (pods int) {
	t.Helper()
	all := try(suite.kube.CoreV1().Pods(suite.Namespace).List(t.Context(), metav1.ListOptions{
		LabelSelector: kube.LabelTenant + "=" + tenant + "," + kube.SandboxSelector,
	})).or(t)
	for _, pod := range all.Items {
		if pod.DeletionTimestamp == nil {
			pods++
		}
	}
	return pods
}

// leftNothing checks that a session that was refused is nowhere: on no gateway,
// and not in Kubernetes.
func leftNothing(t *testing.T, tenant, session string) {
	t.Helper()
	for i, gateway := range gateways(tenant) {
		if r, err := gateway.Session(t.Context(), session); client.StatusOf(err) != http.StatusNotFound {
			t.Errorf("gateway %d shows a refused session: %+v, %v", i, r, err)
		}
	}
	name := sandbox.RecordName(tenant, session)
	if _, err := suite.kube.CoreV1().Secrets(suite.Namespace).Get(t.Context(), name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the record of a refused session: %v", err)
	}
}

func TestCheck57FiftyStartsOfTen(t *testing.T) {
	declare(t, realNode, 57)
	t.Parallel()
	apis, api := gateways("limited"), keyedAPI("limited")
	if len(apis) < 3 {
		t.Fatalf("API_URLS holds %d gateways, this check needs three", len(apis))
	}
	burst := func(n int) (running []client.Runtime, errs map[string]error) {
		t.Helper()
		errs = map[string]error{}
		var mu sync.Mutex
		bodies := make([]map[string]any, n)
		for i := range bodies {
			bodies[i] = startBody(t, "v1a", newSession(), neverReady)
			stopAtEnd(t, api, bodies[i])
		}
		if err := inParallel(n, n, func(i int) error {
			r, err := apis[i%len(apis)].Start(t.Context(), bodies[i])
			for tries := 1; client.StatusOf(err) == http.StatusGatewayTimeout && tries < 5; tries++ { // nobody knows: ask again
				r, err = apis[i%len(apis)].Start(t.Context(), bodies[i])
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				running = append(running, r)
			} else {
				errs[bodies[i]["session_id"].(string)] = err
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return running, errs
	}
	running, errs := burst(50)
	if len(running) != limitedSandboxes || len(errs) != 50-limitedSandboxes {
		t.Fatalf("%d of 50 starts were accepted, want %d: %v", len(running), limitedSandboxes, errs)
	}
	for session, err := range errs {
		refused(t, err, limitedSandboxes, "sandboxes")
		leftNothing(t, "limited", session)
	}
	if pods := podsOfTenant(t, "limited"); pods != limitedSandboxes {
		t.Errorf("%d pods after 50 starts, want %d", pods, limitedSandboxes)
	}
	if listed := try(api.List(t.Context())).or(t); len(listed) != limitedSandboxes {
		t.Errorf("%d sandboxes are listed", len(listed))
	}
	// A start of what runs asks for nothing.
	again := startBody(t, "v1a", running[0].SessionID, neverReady)
	sameSandbox(t, "started again", running[0], try(api.Start(t.Context(), again)).or(t))

	// When all have stopped there is room for as many at once.
	if err := inParallel(limitedSandboxes, len(running), func(i int) error {
		return apis[i%len(apis)].Stop(t.Context(), running[i].RuntimeID)
	}); err != nil {
		t.Fatal(err)
	}
	running, errs = burst(limitedSandboxes)
	if len(running) != limitedSandboxes {
		t.Errorf("after all were stopped %d of %d starts were accepted: %v", len(running), limitedSandboxes, errs)
	}
}

func TestCheck57ResumeWhenFull(t *testing.T) {
	declare(t, realNode, 57)
	t.Parallel()
	api := keyedAPI("single")
	paused := start(t, api, startBody(t, "v1a", newSession(), neverReady))
	if _, err := api.Pause(t.Context(), paused.RuntimeID); err != nil {
		t.Fatal(err)
	}
	other := start(t, api, startBody(t, "v1a", newSession(), neverReady))
	_, err := api.Resume(t.Context(), paused.RuntimeID)
	refused(t, err, 1, "sandboxes")
	_, err = api.Start(t.Context(), startBody(t, "v1a", paused.SessionID, neverReady))
	refused(t, err, 1, "sandboxes")
	if r := try(api.Session(t.Context(), paused.SessionID)).or(t); r.Status != "paused" {
		t.Errorf("after a resume that was refused: %+v", r)
	}
	if _, err := api.Pause(t.Context(), other.RuntimeID); err != nil {
		t.Fatal(err)
	}
	if r, err := api.Resume(t.Context(), paused.RuntimeID); err != nil || r.Status != "starting" {
		t.Errorf("with room again: %+v, %v", r, err)
	}
}

// Each key has room for three sandboxes of factor 1.
func TestCheck57ProcessorsAndMemory(t *testing.T) {
	declare(t, realNode, 57)
	t.Parallel()
	for resource, c := range map[string]struct{ key, ofFour string }{
		"cpu":    {"narrow", "the sandbox asks for 200 CPU millicores, all sandboxes of this key together may have 150"},
		"memory": {"lean", "the sandbox asks for 268435456 bytes of memory, all sandboxes of this key together may have 209715200"},
	} {
		t.Run(resource, func(t *testing.T) {
			t.Parallel()
			api := keyedAPI(c.key)
			startOf := func(factor int) (session string, err error) {
				body := startBody(t, "v1a", newSession(), neverReady, with("resource_factor", factor))
				stopAtEnd(t, api, body)
				_, err = api.Start(t.Context(), body)
				return body["session_id"].(string), err
			}
			_, err := startOf(4)
			if body := refusal(t, err, http.StatusBadRequest); body["error"] != "quota_exceeded" || body["resource"] != resource || body["detail"] != c.ofFour {
				t.Errorf("what never fits is refused with %v", body)
			}
			if _, err := startOf(2); err != nil {
				t.Fatal(err)
			}
			session, err := startOf(2)
			refused(t, err, 1, resource)
			leftNothing(t, c.key, session)
			if _, err := startOf(1); err != nil {
				t.Errorf("what fits beside it: %v", err)
			}
		})
	}
}

func TestCheck57StartsPerMinute(t *testing.T) {
	declare(t, realNode, 57)
	t.Parallel()
	api := keyedAPI("hurried")
	body := startBody(t, "v1a", newSession(), neverReady)
	r := start(t, api, body)
	for range 5 { // makes no pod, and is not counted
		sameSandbox(t, "started again", r, try(api.Start(t.Context(), body)).or(t))
	}
	for range hurriedStarts - 1 {
		if _, err := api.Pause(t.Context(), r.RuntimeID); err != nil {
			t.Fatal(err)
		}
		if _, err := api.Resume(t.Context(), r.RuntimeID); err != nil {
			t.Fatal(err)
		}
	}
	other := startBody(t, "v1a", newSession(), neverReady)
	stopAtEnd(t, api, other)
	_, err := api.Start(t.Context(), other)
	told := refusal(t, err, http.StatusTooManyRequests)
	if told["error"] != "rate_limited" || told["detail"] != "this key may make 3 starts per minute; try again later" {
		t.Errorf("refused with %v", told)
	}
	var e *client.StatusError
	if errors.As(err, &e) {
		if wait, err := strconv.Atoi(e.Answer.Header.Get("Retry-After")); err != nil || wait < 1 || wait > 60 {
			t.Errorf("Retry-After is %q", e.Answer.Header.Get("Retry-After"))
		}
	}
	leftNothing(t, "hurried", other["session_id"].(string))
	waitFor(t, readyLimit, "a start is let in again", func(ctx context.Context) (string, bool) {
		_, err := api.Start(ctx, other)
		return fmt.Sprint(err), err == nil
	})
}
