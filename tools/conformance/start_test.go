//go:build system

package conformance_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

// aliveNow is for a sandbox of which an answer just said that it serves: the
// very first request must get through.
func aliveNow(t *testing.T, r client.Runtime) {
	t.Helper()
	for _, path := range []string{"/alive", "/health"} {
		answer := do(t, agentOf(r).Caller, client.Request{Path: path, Bare: true})
		if !answer.OK() {
			t.Fatalf("running, ready, but %s", answer)
		}
	}
}

func TestCheck01StartV1(t *testing.T) {
	declare(t, realNode, 1)
	t.Parallel()
	// That it answers in time, with all fields filled, client.API asks of every call.
	r := start(t, defaultAPI(), startBody(t, "v1a", newSession()))
	aliveNow(t, waitReady(t, defaultAPI(), r.SessionID))
}

func TestCheck02StartSDK(t *testing.T) {
	declare(t, realNode, 2)
	t.Parallel()
	r := startReady(t, defaultAPI(), startBody(t, "sdk", "agent-server-"+newSession()))
	argv := try(agentOf(r).Argv(t.Context())).or(t)
	want := []string{"/usr/local/bin/openhands-agent-server", "--port", "60000"}
	if !slices.Equal(argv, want) {
		t.Errorf("the container runs %q, want %q", argv, want)
	}
}

func TestCheck03StartV0(t *testing.T) {
	declare(t, realNode, 3)
	t.Parallel()
	r := start(t, defaultAPI(), startBody(t, "v0", newSession()))
	var ports []int
	for _, port := range r.WorkHosts {
		ports = append(ports, port)
	}
	slices.Sort(ports)
	if !slices.Equal(ports, []int{12000, 12001}) {
		t.Errorf("work_hosts %v, want the ports 12000 and 12001", r.WorkHosts)
	}
	aliveNow(t, waitReady(t, defaultAPI(), r.SessionID))
}

func TestCheck08StartWhileRunning(t *testing.T) {
	declare(t, realNode, 8)
	t.Parallel()
	session := newSession()
	first := startReady(t, defaultAPI(), startBody(t, "v1a", session))
	pod := onePod(t, suite.Namespace, first)
	for name, body := range map[string]map[string]any{
		"same body":    startBody(t, "v1a", session),
		"other body":   startBody(t, "sdk", session, withEnv("OTHER", "1"), with("resource_factor", 2)),
		"other client": startBody(t, "v0", session),
	} {
		for i, api := range gateways("default") {
			again := try(api.Start(t.Context(), body)).or(t)
			sameSandbox(t, fmt.Sprintf("%s, gateway %d", name, i), first, again)
			if again.Status != "running" || again.PodStatus != "ready" {
				t.Errorf("%s: %s and %s, want it to be left running", name, again.Status, again.PodStatus)
			}
		}
	}
	if now := onePod(t, suite.Namespace, first); now.UID != pod.UID {
		t.Errorf("pod %s took the place of %s", now.Name, pod.Name)
	}
}

func TestCheck09StartWhileStarting(t *testing.T) {
	declare(t, realNode, 9)
	t.Parallel()
	session := newSession()
	body := startBody(t, "v1a", session, readyAfter(3*time.Second))
	first := start(t, defaultAPI(), body)
	for i, api := range gateways("default") {
		again := try(api.Start(t.Context(), body)).or(t)
		sameSandbox(t, fmt.Sprintf("gateway %d", i), first, again)
		if again.Status != "starting" {
			t.Errorf("gateway %d: status %s, want starting", i, again.Status)
		}
	}
	sameSandbox(t, "ready", first, waitReady(t, defaultAPI(), session))
	onePod(t, suite.Namespace, first)
}

func TestCheck10TwentyStartsAtOnce(t *testing.T) {
	declare(t, realNode, 10)
	t.Parallel()
	const starts = 20
	body := startBody(t, "v1a", newSession())
	stopAtEnd(t, defaultAPI(), body)
	apis, answers := gateways("default"), make([]client.Runtime, starts)
	err := inParallel(starts, starts, func(i int) (err error) {
		answers[i], err = apis[i%len(apis)].Start(t.Context(), body)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range answers {
		sameSandbox(t, fmt.Sprintf("answer %d", i), answers[0], r)
	}
	r := waitReady(t, defaultAPI(), answers[0].SessionID)
	sameSandbox(t, "ready", answers[0], r)
	onePod(t, suite.Namespace, r)
}

func sameSandbox(t *testing.T, what string, want, got client.Runtime) {
	t.Helper()
	if got.RuntimeID != want.RuntimeID || got.URL != want.URL || got.SessionAPIKey != want.SessionAPIKey {
		t.Errorf("%s: %+v, want runtime id, URL and key of %+v", what, got, want)
	}
}

func TestCheck54SessionIDs(t *testing.T) {
	declare(t, realNode, 54)
	t.Parallel()
	n := nonce()
	sessions := []string{
		"5Qe0cWZ2jTgN3mJ8" + n,                // V1: base62, mixed case
		"5qe0cwz2jtgn3mj8" + n,                // the same but for case
		"vibe.session.2026." + n,              // dots
		strings.Repeat("Long-", 23) + "." + n, // 128
		"eval/a b+c%2F?é#" + n,                // what a path has to escape
	}
	all := make([]client.Runtime, len(sessions))
	for i, session := range sessions {
		all[i] = start(t, defaultAPI(), startBody(t, "v1a", session))
	}
	unique := map[string]string{}
	for i, session := range sessions {
		r := waitReady(t, defaultAPI(), session)
		sameSandbox(t, session, all[i], r)
		aliveNow(t, r)
		if id, _, err := agentOf(r).Variable(t.Context(), "RUNTIME_ID"); err != nil || id != r.RuntimeID {
			t.Errorf("%q: its URL leads to sandbox %q, want %q: %v", session, id, r.RuntimeID, err)
		}
		for _, own := range []string{r.RuntimeID, r.URL, r.SessionAPIKey} {
			if other, taken := unique[own]; taken {
				t.Errorf("%q and %q share %q", session, other, own)
			}
			unique[own] = session
		}
	}
	batch := try(defaultAPI().Batch(t.Context(), sessions...)).or(t)
	for i, r := range batch {
		if r == nil || r.RuntimeID != all[i].RuntimeID {
			t.Errorf("batch has %+v for %q, want %s", r, sessions[i], all[i].RuntimeID)
		}
	}
}

// What a client of the default tenant calls its session stands in its URL where
// it can; whatever stands there, a browser must be able to use it.
func TestHostLabelsAreDNSLabels(t *testing.T) {
	t.Parallel()
	for _, session := range []string{
		"vscode-" + nonce(), "work-1-" + nonce(), "-" + nonce() + "-", strings.Repeat("a", 60) + nonce(), "ü" + nonce(),
	} {
		r := start(t, defaultAPI(), startBody(t, "sdk", session, neverReady))
		label := r.Label(suite.BaseDomain)
		if len("vscode-"+label) > 63 || label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" ||
			strings.HasPrefix(label, "-") || strings.HasPrefix(label, "vscode-") || strings.HasPrefix(label, "work-") {
			t.Errorf("session %q has the label %q", session, label)
		}
	}
}

// The client that is told 404 between start and pod gives up: existence is
// exact, on every gateway.
func TestCheck04And05ReadAtOnce(t *testing.T) {
	declare(t, realNode, 4, 5)
	t.Parallel()
	for range 3 {
		started := start(t, defaultAPI(), startBody(t, "v1a", newSession(), readyAfter(5*time.Second)))
		for i, api := range gateways("default") {
			for what, read := range map[string]func(context.Context) (client.Runtime, error){
				"/sessions": func(ctx context.Context) (client.Runtime, error) { return api.Session(ctx, started.SessionID) },
				"/runtime":  func(ctx context.Context) (client.Runtime, error) { return api.Runtime(ctx, started.RuntimeID) },
			} {
				r, err := read(t.Context())
				if err != nil {
					t.Fatalf("gateway %d, %s: %v", i, what, err)
				}
				sameSandbox(t, fmt.Sprintf("gateway %d, %s", i, what), started, r)
				if r.Status != "starting" { // its pod status is then one of the three: client.DecodeRuntime
					t.Errorf("gateway %d, %s: status %s, want starting", i, what, r.Status)
				}
			}
		}
	}
}

func TestCheck17UnknownSession(t *testing.T) {
	declare(t, apiServer, 17)
	t.Parallel()
	for i, api := range gateways("default") {
		answer := do(t, api.Caller, client.Request{Path: client.SessionPath(newSession())})
		if err := answer.Problem(http.StatusNotFound); err != nil {
			t.Errorf("gateway %d: %v", i, err)
		}
	}
}
