//go:build system

package conformance_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

func TestCheck46ServerOwnedEnvironment(t *testing.T) {
	declare(t, realNode, 46)
	t.Parallel()
	api := keyedAPI("rotating")
	var overrides []func(map[string]any)
	for _, name := range []string{
		"SESSION_API_KEY", "RUNTIME_ID", "RUNTIME_URL", "VSCODE_PORT", "OH_VSCODE_PORT", "OH_SECRET_KEY",
		"OH_RUNTIME_IDLE_TIMEOUT_SECONDS",
	} {
		overrides = append(overrides, withEnv(name, "1"))
	}
	r := startReady(t, api, startBody(t, "v1a", newSession(), overrides...))
	secret := serverOwned(t, r)
	pause(t, api, r)
	r.SessionAPIKey = resume(t, api, r).SessionAPIKey
	if again := serverOwned(t, r); again != secret {
		t.Error("OH_SECRET_KEY is another after resume: what the agent server has stored is lost")
	}
}

// serverOwned looks at what the server must have put into the environment, and
// returns OH_SECRET_KEY.
func serverOwned(t *testing.T, r client.Runtime) string {
	t.Helper()
	agent := agentOf(r)
	for name, want := range map[string]string{
		"SESSION_API_KEY": r.SessionAPIKey, "RUNTIME_ID": r.RuntimeID, "RUNTIME_URL": r.URL,
		"VSCODE_PORT": "60001", "OH_VSCODE_PORT": "60001",
	} {
		if got, _, err := agent.Variable(t.Context(), name); err != nil || got != want {
			t.Errorf("%s is %q, %v; want %q", name, got, err, want)
		}
	}
	if idle, _, err := agent.Variable(t.Context(), "OH_RUNTIME_IDLE_TIMEOUT_SECONDS"); err != nil || idle == "" ||
		idle == "1" || strings.Trim(idle, "0123456789") != "" {
		t.Errorf("OH_RUNTIME_IDLE_TIMEOUT_SECONDS is %q, %v; want the server's number", idle, err)
	}
	if _, set, err := agent.Variable(t.Context(), "OH_SESSION_API_KEYS_0"); set || err != nil {
		t.Errorf("OH_SESSION_API_KEYS_0 is set: %t, %v", set, err)
	}
	secret, _, err := agent.Variable(t.Context(), "OH_SECRET_KEY")
	if err != nil || len(secret) < 16 || secret == r.SessionAPIKey {
		t.Errorf("OH_SECRET_KEY has %d bytes, %v; want a key of its own", len(secret), err)
	}
	return secret
}

// Kubernetes expands $(NAME) in values and commands; a client has not asked
// for that.
func TestEnvironmentAndCommandArriveUnchanged(t *testing.T) {
	t.Parallel()
	values := map[string]string{
		"EXPANSION": "$(RUNTIME_ID) $$(HOME) $$ $", "EMPTY": "", "LINES": "a\nb\t\"c\" 'd'", "UNICODE": "grüße",
		"OH_WEBHOOKS_0_BASE_URL": "https://clients.example.test/hook",
		"JSON":                   `{"X-Session-API-Key": "${SESSION_API_KEY}"}`,
	}
	command := []string{"/usr/local/bin/openhands-agent-server", "--port", "60000", "--note", "$(RUNTIME_ID) $$ a b", ""}
	mods := []func(map[string]any){with("command", command)}
	for name, value := range values {
		mods = append(mods, withEnv(name, value))
	}
	r := startReady(t, defaultAPI(), startBody(t, "v1a", newSession(), mods...))
	for name, want := range values {
		if got, set, err := agentOf(r).Variable(t.Context(), name); got != want || !set || err != nil {
			t.Errorf("%s is %q (set: %t, %v), want %q", name, got, set, err, want)
		}
	}
	if argv := try(agentOf(r).Argv(t.Context())).or(t); !slices.Equal(argv, command) {
		t.Errorf("command %q, want %q", argv, command)
	}
}

func TestCheck51RunAsRoot(t *testing.T) {
	declare(t, realNode, 51)
	t.Parallel()
	session := newSession()
	body := startBody(t, "v1a", session, with("run_as_user", 0), with("run_as_group", 0))
	stopAtEnd(t, defaultAPI(), body)
	answer := do(t, defaultAPI().Caller, client.Request{Method: http.MethodPost, Path: "/start", Body: body})
	if !answer.OK() { // where policy forbids root it must be said, never another user silently taken
		if err := answer.Problem(http.StatusBadRequest, http.StatusForbidden); err != nil {
			t.Error(err)
		}
		return
	}
	r := waitReady(t, defaultAPI(), session)
	if who := try(agentOf(r).WhoAmI(t.Context())).or(t); who.UID != 0 || who.GID != 0 {
		t.Errorf("runs as %+v, want root", who)
	}
	pod := onePod(t, suite.Namespace, r)
	var users []int64
	if context := pod.Spec.SecurityContext; context != nil && context.RunAsUser != nil {
		users = append(users, *context.RunAsUser)
	}
	if context := mainContainer(t, pod).SecurityContext; context != nil && context.RunAsUser != nil {
		users = append(users, *context.RunAsUser)
	}
	if len(users) == 0 || slices.Max(users) != 0 {
		t.Errorf("the pod's runAsUser is %v, want 0", users)
	}
}

func TestCheck52UserAndFSGroupWithoutGroup(t *testing.T) {
	declare(t, realNode, 52)
	t.Parallel()
	r := startReady(t, defaultAPI(), startBody(t, "sdk", newSession()))
	agent := agentOf(r)
	if who := try(agent.WhoAmI(t.Context())).or(t); who.UID != 10001 || !slices.Contains(append(who.Groups, who.GID), 10001) {
		t.Errorf("runs as %+v, want user 10001 with the group 10001 of the volume", who)
	}
	if err := agent.Write(t.Context(), workspace, "mine.txt", "x"); err != nil {
		t.Errorf("the workspace cannot be written: %v", err)
	}
	if gid, err := agent.GroupOf(t.Context(), workspace, "mine.txt"); err != nil || gid != 10001 {
		t.Errorf("a new file belongs to group %d, %v; want fs_group", gid, err)
	}
}

func TestCheck53ImagesOwnEntrypoint(t *testing.T) {
	declare(t, realNode, 53)
	t.Parallel()
	var argv [][]string
	for _, mod := range []func(map[string]any){with("command", nil), without("command")} {
		r := startReady(t, defaultAPI(), startBody(t, "ent", newSession(), mod))
		c := mainContainer(t, onePod(t, suite.Namespace, r))
		if len(c.Command)+len(c.Args) != 0 {
			t.Errorf("the pod has the command %q and the arguments %q, want none", c.Command, c.Args)
		}
		argv = append(argv, try(agentOf(r).Argv(t.Context())).or(t))
	}
	if len(argv[0]) == 0 || !slices.Equal(argv[0], argv[1]) {
		t.Errorf("null runs %q, absent %q; want the image's entrypoint for both", argv[0], argv[1])
	}
}

func TestCheck50ResourceFactor(t *testing.T) {
	declare(t, simulated, 50)
	t.Parallel()
	api := simulatedAPI(t)
	base := resourcesOf(t, api, without("resource_factor"))
	if len(base) != 4 {
		t.Fatalf("a sandbox has %v, want requests and limits of cpu and memory", base)
	}
	for _, factor := range []int64{1, 2, 4, 8} {
		scaled := resourcesOf(t, api, with("resource_factor", factor))
		for what, amount := range base {
			if scaled[what] != factor*amount {
				t.Errorf("factor %d: %s is %d, want %d times %d", factor, what, scaled[what], factor, amount)
			}
		}
	}
	for _, bad := range []any{0, -1, "2", 1.5, true, []int{1}, 1e9} {
		body := startBody(t, "v1a", newSession(), with("resource_factor", bad))
		stopAtEnd(t, api, body)
		answer := do(t, api.Caller, client.Request{Method: http.MethodPost, Path: "/start", Body: body})
		if err := answer.Problem(http.StatusBadRequest, http.StatusUnprocessableEntity); err != nil {
			t.Errorf("factor %v: %v", bad, err)
		} else if !strings.Contains(string(answer.Body), "resource_factor") {
			t.Errorf("factor %v: %s does not name the field", bad, answer)
		}
	}
}

// resourcesOf starts a sandbox and returns what its pod asks for, cpu in
// thousandths and memory in bytes.
func resourcesOf(t *testing.T, api client.API, mod func(map[string]any)) map[string]int64 {
	t.Helper()
	r := start(t, api, startBody(t, "v1a", newSession(), mod))
	waitFor(t, visibleLimit, r.SessionID+" has a pod", func(context.Context) (string, bool) {
		pods := podsOf(t, suite.Simulated.Namespace, r)
		return fmt.Sprintf("%d pods", len(pods)), len(pods) > 0
	})
	resources := mainContainer(t, onePod(t, suite.Simulated.Namespace, r)).Resources
	found := map[string]int64{}
	for kind, list := range map[string]map[string]int64{
		"requests": {"cpu": resources.Requests.Cpu().MilliValue(), "memory": resources.Requests.Memory().Value()},
		"limits":   {"cpu": resources.Limits.Cpu().MilliValue(), "memory": resources.Limits.Memory().Value()},
	} {
		for name, amount := range list {
			if amount > 0 {
				found[fmt.Sprintf("%s.%s", kind, name)] = amount
			}
		}
	}
	return found
}
