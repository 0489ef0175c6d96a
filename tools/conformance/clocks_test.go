//go:build system

package conformance_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

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

// lifecycle is our extension of the start body.
func lifecycle(clocks map[string]any) func(map[string]any) { return with("lifecycle", clocks) }

// idleOnly switches all other clocks off.
func idleOnly(seconds int) func(map[string]any) {
	return lifecycle(map[string]any{"idle_seconds": seconds, "max_age_seconds": 0, "pending_seconds": 0, "unclaimed_seconds": 0})
}

// waitReason waits until a sandbox is as a clock left it, and tells why.
func waitReason(t *testing.T, api client.API, session, status, reason string) {
	t.Helper()
	waitFor(t, late, session+" is "+status+" by its clock", func(ctx context.Context) (string, bool) {
		r, err := api.Session(ctx, session)
		if err != nil {
			return err.Error(), false
		}
		return r.Status + ": " + r.StatusDetail, r.Status == status && strings.Contains(r.StatusDetail, reason)
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
	waitFor(t, late, "what nobody asked for is stopped", func(ctx context.Context) (string, bool) {
		status, detail, err := listed(ctx, defaultAPI(), forgotten.SessionID)
		if err != nil {
			return err.Error(), false
		}
		return status + ": " + detail, status == "stopped" && strings.Contains(detail, "nobody asked for it")
	})
	waitNoPod(t, forgotten)
	for _, r := range []client.Runtime{polled, first} {
		if status, detail, err := listed(t.Context(), defaultAPI(), r.SessionID); err != nil || status != "running" && status != "starting" {
			t.Errorf("%s was asked for, and is %s: %s, %v", r.SessionID, status, detail, err)
		}
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
		"unused": {use: func(*testing.T, client.Runtime) {}},
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
			waitFor(t, late, "it is paused", func(ctx context.Context) (string, bool) {
				c.use(t, r)
				now := try(defaultAPI().Session(ctx, r.SessionID)).or(t)
				return now.Status, now.Status == "paused" && now.StatusDetail == "it was idle for 15s"
			})
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
			ready := waitReady(t, defaultAPI(), r.SessionID)
			began := time.Now()
			if ready.RuntimeID != r.RuntimeID || ready.URL != r.URL || ready.StatusDetail != "" {
				t.Errorf("came back as %+v, was %+v", ready, r)
			}
			waitReason(t, defaultAPI(), r.SessionID, "paused", "it was idle")
			// What is read here is seen up to a poll after it was so.
			if d := time.Since(began); d < (idleSeconds-1)*time.Second {
				t.Errorf("paused again %v after it was ready", d)
			}
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
	r := startReady(t, defaultAPI(), startBody(t, "v1a", newSession(),
		lifecycle(map[string]any{"idle_seconds": 0, "max_age_seconds": 12, "retention_seconds": 6})))
	waitFor(t, late, "it is paused although it is used", func(ctx context.Context) (string, bool) {
		_, err := agentOf(r).Argv(ctx) // fails once it is paused
		now := try(defaultAPI().Session(ctx, r.SessionID)).or(t)
		return now.Status + ": " + now.StatusDetail, err != nil && now.Status == "paused" && now.StatusDetail == "it ran for 12s, the longest allowed"
	})
	waitReason(t, defaultAPI(), r.SessionID, "stopped", "it was paused for 6s")
	waitFor(t, goneLimit, "its volume is gone", func(ctx context.Context) (string, bool) {
		left, err := volumesOf(ctx, r)
		return strings.Join(left, " "), err == nil && len(left) == 0
	})
}

func TestCheck45ZeroIsNever(t *testing.T) {
	declare(t, realNode, 45)
	t.Parallel()
	never := map[string]any{"idle_seconds": 0, "max_age_seconds": 0, "retention_seconds": 0, "pending_seconds": 0, "unclaimed_seconds": 0}
	r := startReady(t, defaultAPI(), startBody(t, "v1a", newSession(), lifecycle(never)))
	runsFor(t, 2*idleSeconds*time.Second, r, func() {})
}
