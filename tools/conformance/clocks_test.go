//go:build system

package conformance_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

// Clocks of these tests, in seconds. Routers report traffic every 10 s: a shorter
// idle time would be none. A clock is looked at when it is due; late is how much
// later a machine of 2 cores may see it, and how long a sandbox may take to be
// ready there.
const (
	idleSeconds = 15
	late        = 90 * time.Second
)

// What the clocks say of the testbed's keys "clocked" and "fixed", whose own times
// these are; the second has the maximum age only.
const (
	keysIdle      = "it was idle for 15s"
	keysMaxAge    = "it ran for 20s, the longest allowed"
	keysRetention = "it was paused for 10s"
)

// lifecycle is our extension of the start body.
func lifecycle(clocks map[string]any) func(map[string]any) { return with("lifecycle", clocks) }

// idleOnly switches all other clocks off.
func idleOnly(seconds int) func(map[string]any) {
	return lifecycle(map[string]any{"idle_seconds": seconds, "max_age_seconds": 0, "pending_seconds": 0, "unclaimed_seconds": 0})
}

// waitReason waits until a sandbox is as a clock left it, and tells why: by one of
// these reasons.
func waitReason(t *testing.T, api client.API, session, status string, reasons ...string) {
	t.Helper()
	waitFor(t, late, session+" is "+status+" by its clock", func(ctx context.Context) (string, bool) {
		r, err := api.Session(ctx, session)
		if err != nil {
			return err.Error(), false
		}
		told := slices.ContainsFunc(reasons, func(reason string) bool { return strings.Contains(r.StatusDetail, reason) })
		return r.Status + ": " + r.StatusDetail, r.Status == status && told
	})
}

// runsFor looks for so long that a sandbox runs all the time; meanwhile is done
// before each look.
func runsFor(t *testing.T, d time.Duration, r client.Runtime, meanwhile func()) {
	t.Helper()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for end := time.After(d); ; {
		meanwhile()
		if now := try(defaultAPI().Session(t.Context(), r.SessionID)).or(t); now.Status != "running" {
			t.Fatalf("%s is %s: %s", r.SessionID, now.Status, now.StatusDetail)
		}
		select {
		case <-tick.C:
		case <-end:
			return
		}
	}
}

// listed reads one session from /list with all of them, which claims nothing.
func listed(ctx context.Context, api client.API, session string) (status, detail string, err error) {
	answer, err := api.Do(ctx, client.Request{Path: "/list?show_all=true"})
	if err != nil {
		return "", "", err
	}
	var all struct {
		Runtimes []struct {
			SessionID    string `json:"session_id"`
			Status       string `json:"status"`
			StatusDetail string `json:"status_detail"`
		} `json:"runtimes"`
	}
	if err := json.Unmarshal(answer.Body, &all); err != nil {
		return "", "", err
	}
	for _, r := range all.Runtimes {
		if r.SessionID == session {
			return r.Status, r.StatusDetail, nil
		}
	}
	return "gone", "", nil
}

// waitForgotten is waitReason for a sandbox that nobody may ask for meanwhile.
func waitForgotten(t *testing.T, api client.API, session, status string) {
	t.Helper()
	waitFor(t, late, "what nobody asks for is "+status, func(ctx context.Context) (string, bool) {
		now, detail, err := listed(ctx, api, session)
		if err != nil {
			return err.Error(), false
		}
		return now + ": " + detail, now == status && strings.Contains(detail, "nobody asked for it")
	})
}

// readySince is when the kubelet found a sandbox ready, to the second before.
func readySince(t *testing.T, r client.Runtime) time.Time {
	t.Helper()
	pod := onePod(t, suite.Namespace, r)
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return c.LastTransitionTime.Time
		}
	}
	t.Fatalf("pod %s is not ready: %+v", pod.Name, pod.Status.Conditions)
	return time.Time{}
}

// hadWholePeriod is asked when a sandbox was seen paused by its idle clock.
func hadWholePeriod(t *testing.T, ready time.Time) {
	t.Helper()
	if d := time.Since(ready); d < idleSeconds*time.Second {
		t.Errorf("paused %v after it was ready, want at least %d s", d, idleSeconds)
	}
}

func TestCheck43NeverAskedForIsReaped(t *testing.T) {
	declare(t, realNode, 43)
	t.Parallel()
	unclaimed := lifecycle(map[string]any{"unclaimed_seconds": 10})
	forgotten := start(t, defaultAPI(), startBody(t, "v1a", newSession(), unclaimed))
	polled := startReady(t, defaultAPI(), startBody(t, "v1a", newSession(), unclaimed))
	again := startBody(t, "v1a", newSession(), unclaimed)
	first := start(t, defaultAPI(), again)
	for _, api := range gateways("default") { // its client timed out, and asks whichever answers
		if r := try(api.Start(t.Context(), again)).or(t); r.RuntimeID != first.RuntimeID || r.SessionAPIKey != first.SessionAPIKey {
			t.Errorf("started again as %s, want %s", r.RuntimeID, first.RuntimeID)
		}
	}
	waitForgotten(t, defaultAPI(), forgotten.SessionID, "stopped")
	waitNoPod(t, forgotten)
	for _, r := range []client.Runtime{polled, first} {
		if status, detail, err := listed(t.Context(), defaultAPI(), r.SessionID); err != nil || status != "running" && status != "starting" {
			t.Errorf("%s was asked for, and is %s: %s, %v", r.SessionID, status, detail, err)
		}
	}
}

// One that was resumed may hold work: it is paused, and keeps its volume.
func TestCheck43ResumedAndNeverAskedForIsPaused(t *testing.T) {
	declare(t, realNode, 43)
	t.Parallel()
	api := defaultAPI()
	r := startReady(t, api, startBody(t, "v1a", newSession(), lifecycle(map[string]any{"unclaimed_seconds": 10})))
	// Past the router: it tells of traffic later, and that would be of after the resume.
	past := client.NewAgent(suite.http, "http://"+onePod(t, suite.Namespace, r).Status.PodIP+":60000", r.SessionAPIKey)
	if err := past.Write(t.Context(), workspace, "a.txt", "kept"); err != nil {
		t.Fatal(err)
	}
	pause(t, api, r)
	if resumed := try(api.Resume(t.Context(), r.RuntimeID)).or(t); resumed.Status != "starting" {
		t.Errorf("resumed as %+v, want it starting", resumed)
	}
	waitForgotten(t, api, r.SessionID, "paused")
	waitNoPod(t, r)
	if left, err := volumesOf(t.Context(), r); err != nil || len(left) != 1 {
		t.Errorf("volumes %q, %v; want its one", left, err)
	}
	resume(t, api, r)
	if got, err := agentOf(r).Read(t.Context(), workspace, "a.txt"); err != nil || got != "kept" {
		t.Errorf("the file holds %q, %v", got, err)
	}
}

// A client that was told nothing of its sandbox and comes back late gets a new
// one of the same session.
func TestCheck43PendingForTooLongIsReaped(t *testing.T) {
	declare(t, realNode, 43)
	t.Parallel()
	body := startBody(t, "v1a", newSession(), neverReady, lifecycle(map[string]any{"pending_seconds": 8}))
	r := start(t, defaultAPI(), body)
	waitReason(t, defaultAPI(), r.SessionID, "stopped", "it was not ready within 8s: ")
	waitNoPod(t, r)
	body["image"] = suite.SandboxImage
	delete(body, "lifecycle") // the image is another; how long it takes is not
	if again := startReady(t, defaultAPI(), body); again.RuntimeID == r.RuntimeID {
		t.Error("a stopped sandbox came back")
	}
}

func TestCheck44Idle(t *testing.T) {
	declare(t, realNode, 44)
	for name, c := range map[string]struct {
		body    func(map[string]any) // besides the clock
		use     func(t *testing.T, r client.Runtime)
		stillUp bool
	}{
		// Counted from its start it would be paused too early.
		"unused": {body: readyAfter(5 * time.Second), use: func(*testing.T, client.Runtime) {}},
		"health probes are no use": {use: func(t *testing.T, r client.Runtime) {
			for _, path := range []string{"/alive", "/health", "/server_info"} {
				do(t, client.Caller{Base: r.URL, HTTP: suite.http}, client.Request{Path: path})
			}
		}},
		"used through a worker port": {stillUp: true, use: func(t *testing.T, r client.Runtime) {
			do(t, client.Caller{Base: r.ServiceURL("work-1"), HTTP: suite.http}, client.Request{Path: "/"})
		}},
		"the agent server says that it works": {stillUp: true, use: func(t *testing.T, r client.Runtime) {
			// Past the router, so that nothing but its idle time tells of it.
			pod := onePod(t, suite.Namespace, r)
			agent := client.NewAgent(suite.http, "http://"+pod.Status.PodIP+":60000", r.SessionAPIKey)
			try(agent.Argv(t.Context())).or(t)
		}},
		"the agent server does not answer": {stillUp: true, body: withEnv("STUB_NO_SERVER_INFO", "1"), use: func(*testing.T, client.Runtime) {}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mods := []func(map[string]any){idleOnly(idleSeconds)}
			if c.body != nil {
				mods = append(mods, c.body)
			}
			r := startReady(t, defaultAPI(), startBody(t, "v1a", newSession(), mods...))
			if c.stillUp {
				runsFor(t, 5*idleSeconds*time.Second/2, r, func() { c.use(t, r) })
				return
			}
			ready := readySince(t, r)
			waitFor(t, late, "it is paused", func(ctx context.Context) (string, bool) {
				c.use(t, r)
				now := try(defaultAPI().Session(ctx, r.SessionID)).or(t)
				return now.Status, now.Status == "paused" && now.StatusDetail == "it was idle for 15s"
			})
			hadWholePeriod(t, ready)
			waitNoPod(t, r)
		})
	}
}

// The agent's clock may count the time that it was paused, and whatever: a
// resume has a whole idle period.
func TestCheck44And68AFreshResumeHasAWholePeriod(t *testing.T) {
	declare(t, realNode, 44, 68)
	for name, back := range map[string]func(t *testing.T, body map[string]any, r client.Runtime){
		"by resume": func(t *testing.T, _ map[string]any, r client.Runtime) {
			try(defaultAPI().Resume(t.Context(), r.RuntimeID)).or(t)
		},
		"by start": func(t *testing.T, body map[string]any, r client.Runtime) {
			again := try(defaultAPI().Start(t.Context(), body)).or(t)
			if again.RuntimeID != r.RuntimeID || again.Status != "starting" {
				t.Errorf("started again as %s, %s; want %s, starting", again.RuntimeID, again.Status, r.RuntimeID)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := startBody(t, "v1a", newSession(), idleOnly(idleSeconds))
			r := startReady(t, defaultAPI(), body)
			if err := agentOf(r).Write(t.Context(), workspace, "a.txt", "kept"); err != nil {
				t.Fatal(err)
			}
			waitReason(t, defaultAPI(), r.SessionID, "paused", "it was idle")
			back(t, body, r)
			again := waitReady(t, defaultAPI(), r.SessionID)
			if again.RuntimeID != r.RuntimeID || again.URL != r.URL || again.StatusDetail != "" {
				t.Errorf("came back as %+v, was %+v", again, r)
			}
			ready := readySince(t, again)
			waitReason(t, defaultAPI(), r.SessionID, "paused", "it was idle")
			hadWholePeriod(t, ready)
			try(defaultAPI().Resume(t.Context(), r.RuntimeID)).or(t)
			waitReady(t, defaultAPI(), r.SessionID)
			if got, err := agentOf(r).Read(t.Context(), workspace, "a.txt"); err != nil || got != "kept" {
				t.Errorf("the file holds %q, %v", got, err)
			}
		})
	}
}

func TestCheck45MaximumAgeAndRetention(t *testing.T) {
	declare(t, realNode, 45)
	t.Parallel()
	const age = 45 * time.Second // it begins with the start: time enough to become ready
	r := startReady(t, defaultAPI(), startBody(t, "v1a", newSession(),
		lifecycle(map[string]any{"idle_seconds": 0, "max_age_seconds": age.Seconds(), "retention_seconds": 6})))
	waitFor(t, age+late, "it is paused although it is used", func(ctx context.Context) (string, bool) {
		_, err := agentOf(r).Argv(ctx) // fails once it is paused
		now := try(defaultAPI().Session(ctx, r.SessionID)).or(t)
		return now.Status + ": " + now.StatusDetail, err != nil && now.Status == "paused" && now.StatusDetail == "it ran for 45s, the longest allowed"
	})
	waitReason(t, defaultAPI(), r.SessionID, "stopped", "it was paused for 6s")
	waitFor(t, goneLimit, "its volume is gone", func(ctx context.Context) (string, bool) {
		left, err := volumesOf(ctx, r)
		return strings.Join(left, " "), err == nil && len(left) == 0
	})
}

// What a start does not ask for is its key's; a fixed key passes over what it asks.
func TestCheck44And45ClocksOfAKey(t *testing.T) {
	declare(t, realNode, 44, 45)
	t.Parallel()
	for name, c := range map[string]struct {
		key    string
		asked  map[string]any
		reason string
	}{
		"idle":        {"clocked", map[string]any{"max_age_seconds": 0}, keysIdle},
		"maximum age": {"clocked", map[string]any{"idle_seconds": 0}, keysMaxAge},
		"fixed":       {"fixed", map[string]any{"idle_seconds": 0, "max_age_seconds": 0}, keysMaxAge},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := keyedAPI(c.key)
			r := start(t, api, startBody(t, "v1a", newSession(), lifecycle(c.asked)))
			waitReason(t, api, r.SessionID, "paused", c.reason)
			waitNoPod(t, r)
		})
	}
}

// Beside one that asks for nothing, and is younger: when its key's times have ended
// that one, they would have ended the others before.
func TestCheck45ZeroIsNever(t *testing.T) {
	declare(t, realNode, 44, 45)
	t.Parallel()
	api := keyedAPI("clocked")
	never := lifecycle(map[string]any{"idle_seconds": 0, "max_age_seconds": 0, "retention_seconds": 0, "pending_seconds": 0, "unclaimed_seconds": 0})
	runs := startReady(t, api, startBody(t, "v1a", newSession(), never))
	sleeps := start(t, api, startBody(t, "v1a", newSession(), never))
	pause(t, api, sleeps)
	ends := start(t, api, startBody(t, "v1a", newSession()))
	// Its age may end it before it was ready for so long.
	waitReason(t, api, ends.SessionID, "paused", keysIdle, keysMaxAge)
	waitReason(t, api, ends.SessionID, "stopped", keysRetention)
	for session, want := range map[string]string{runs.SessionID: "running", sleeps.SessionID: "paused"} {
		if now := try(api.Session(t.Context(), session)).or(t); now.Status != want {
			t.Errorf("%s is %s: %s; want %s for ever", session, now.Status, now.StatusDetail, want)
		}
	}
}
