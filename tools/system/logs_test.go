//go:build system

package system_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// TestCheck70LogsAndErrorsHoldNoSecret: over a whole life with all kinds of
// failures, at the most talkative level, no key and no value of an environment is
// in a log or in the body of an error, be it the gateway's or the router's. A
// client's request id is in the logs of gateway and provisioner.
func TestCheck70LogsAndErrorsHoldNoSecret(t *testing.T) {
	t.Attr("conformance", "70 simulated")
	t.Parallel()
	r := newRig(t, "logs", stack.Options{Gateways: 2, Settings: []string{"LOG_LEVEL=debug", noPurge}})
	value, wrongKey := "value-"+nonce()+nonce(), "sk-"+nonce()+nonce()
	secrets := map[string]string{
		"a variable's value": value, "a wrong API key": wrongKey,
		"the API key": r.Secrets.APIKey, "the sealing key": r.Secrets.SealingKey,
	}
	for user, password := range r.Secrets.NATS {
		secrets["NATS password of "+user] = password
	}
	const named = "request-named-by-the-client"
	api := r.api(0)
	started, err := api.Do(t.Context(), client.Request{
		Method: http.MethodPost, Path: "/start", Body: body(t, "quiet", "TOKEN", value), Header: http.Header{"X-Request-Id": {named}},
	})
	if err != nil || !started.OK() {
		t.Fatal(started, err)
	}
	rt := waitStatus(t, api, "quiet", "running")
	secrets["the session key"] = rt.SessionAPIKey
	secrets["the sandbox's secret key"] = r.record(t, "quiet").SecretKey

	errors := r.provoke(t, value, wrongKey, rt) + r.overQuota(t, value)
	if _, err := api.Pause(t.Context(), rt.RuntimeID); err != nil {
		t.Fatal(err)
	}
	errors += r.provokeRouter(t, value, rt) + r.withoutNATS(t, value, rt)
	r.accepted(t, "a resume", func(ctx context.Context) error { _, err := api.Resume(ctx, rt.RuntimeID); return err })
	r.empty(t, nil) // what services tell when NATS is gone
	for _, svc := range r.Of("provisioner") {
		r.again(t, svc.Name)
	}
	waitStatus(t, api, "quiet", "running")
	r.accepted(t, "a stop", func(ctx context.Context) error { return api.Stop(ctx, rt.RuntimeID) })
	logs := r.logged(t)
	for what, secret := range secrets {
		if secret == "" {
			t.Fatalf("%s is empty", what)
		}
		for where, text := range map[string]string{"logs": logs, "errors": errors} {
			if line := lineWith(text, secret); line != "" {
				t.Errorf("the %s hold %s: %s", where, what, line)
			}
		}
	}
	for _, kind := range []string{"gateway-0", "provisioner-0"} {
		raw, err := os.ReadFile(r.LogPath(kind))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(raw), fmt.Sprintf(`"request_id":%q`, named)) {
			t.Errorf("the log of %s does not know the request %q", kind, named)
		}
	}
}

// provoke sends what must be refused, and returns all the answers.
func (r *rig) provoke(t *testing.T, value, wrongKey string, rt client.Runtime) string {
	t.Helper()
	api := r.api(1)
	wrong := client.NewAPI(r.http, api.Base, wrongKey)
	session := client.NewAPI(r.http, api.Base, rt.SessionAPIKey)
	post := func(path string, b any) client.Request {
		return client.Request{Method: http.MethodPost, Path: path, Body: b}
	}
	with := func(name, v string) map[string]any { return body(t, "refused", name, v) }
	noImage := with("TOKEN", value)
	noImage["image"] = "not an image"
	classless := with("TOKEN", value)
	classless["runtime_class"] = "no-such-class"
	var answers strings.Builder
	for _, c := range []struct {
		to      client.API
		request client.Request
	}{
		{wrong, client.Request{Path: "/list"}},
		{wrong, post("/start", with("TOKEN", value))},
		{session, client.Request{Path: "/list"}},
		{api, post("/start", with("NOT=A NAME", value))},
		{api, post("/start", with("LONG", strings.Repeat(value, 8000)))},
		{api, post("/start", noImage)},
		{api, post("/start", classless)},
		{api, post("/start", []byte(`{"session_id": "x", "image": "i", "environment": {"TOKEN": "`+value+`"}, `))},
		{api, post("/start", []byte(`{"session_id": "x", "image": "i", "environment": "`+value+`"}`))},
		{api, post("/pause", client.ByID(value))},
		{api, post("/resume", client.ByID("aaaaaaaaaaaaaaaa"))},
	} {
		answer := confirmed(t, c.to.Caller, c.request)
		if answer.Status < 400 || answer.Status > 499 {
			t.Errorf("want a 4xx: %s", answer)
		}
		// An id that the client sent as such may be cited.
		if c.request.Path != "/pause" {
			answers.Write(answer.Body)
		}
	}
	return answers.String()
}

// overQuota starts what a full namespace refuses.
func (r *rig) overQuota(t *testing.T, value string) string {
	t.Helper()
	r.quota(t, 0)
	defer r.quota(t, 100)
	return r.refused(t, http.StatusBadRequest, client.Request{Method: http.MethodPost, Path: "/start", Body: body(t, "over", "TOKEN", value)})
}

// withoutNATS sends what cannot be done while NATS is away.
func (r *rig) withoutNATS(t *testing.T, value string, rt client.Runtime) string {
	t.Helper()
	if err := r.Kill("nats"); err != nil {
		t.Fatal(err)
	}
	// Of what goes in the moment in which the connection does nobody knows whether it
	// was stored: that is 504.
	waitFor(t, "the gateway has lost NATS", func(context.Context) (string, bool) {
		raw, err := os.ReadFile(r.LogPath("gateway-0"))
		if err != nil {
			return err.Error(), false
		}
		return "", bytes.Contains(raw, []byte("disconnected from NATS"))
	})
	told := r.refused(t, http.StatusServiceUnavailable, client.Request{Method: http.MethodPost, Path: "/start", Body: body(t, "never", "TOKEN", value)}) +
		r.refused(t, http.StatusServiceUnavailable, client.Request{Method: http.MethodPost, Path: "/resume", Body: client.ByID(rt.RuntimeID)})
	if err := r.StartNATS(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	return told
}

func (r *rig) refused(t *testing.T, status int, request client.Request) string {
	t.Helper()
	answer, err := r.api(0).Do(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if err := answer.Problem(status); err != nil {
		t.Error(err)
	}
	return string(answer.Body)
}

// provokeRouter sends keys and a value, wherever clients put them, to what the
// router leads to no pod.
func (r *rig) provokeRouter(t *testing.T, value string, rt client.Runtime) string {
	t.Helper()
	agent := client.NewAgent(r.http, rt.URL, rt.SessionAPIKey)
	unknown := client.NewAgent(r.http, strings.Replace(rt.URL, "://", "://unknown-", 1), rt.SessionAPIKey)
	var answers strings.Builder
	for _, c := range []struct {
		to     client.Agent
		status int
	}{{agent, http.StatusServiceUnavailable}, {unknown, http.StatusNotFound}} {
		answer := confirmed(t, c.to.Caller, client.Request{
			Method: http.MethodPost, Path: "/api/x?tkn=" + rt.SessionAPIKey + "&value=" + value,
			Body: map[string]string{"value": value}, Header: http.Header{"X-Api-Key": {r.Secrets.APIKey}},
		})
		if answer.Status != c.status {
			t.Errorf("want %d: %s", c.status, answer)
		}
		answers.Write(answer.Body)
	}
	return answers.String()
}

func lineWith(text, part string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			return line[:min(len(line), 1000)]
		}
	}
	return ""
}
