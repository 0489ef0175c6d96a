//go:build system

package conformance_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/sandbar-io/sandbar/tools/conformance"
	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

// entrance is a way in to sandboxes: who leads to them in an installation. The
// tests of traffic are made through each.
type entrance struct {
	name      string // the ROUTING_MODE
	apis      []client.API
	http      *http.Client
	http1     *http.Client // for WebSockets, which begin as HTTP/1.1
	key       string
	namespace string
	router    bool // ours, which knows how a sandbox is
	running   func() (client.Runtime, error)
}

// entrances are all of them, set by connect.
var entrances []entrance

// connectEntrances finds the installations; one that is missing fails its tests.
func connectEntrances() error {
	entrances = []entrance{{
		name: "router", apis: gateways("default"), http: suite.http, http1: suite.http, key: suite.APIKeys["default"],
		namespace: suite.Namespace, router: true, running: runningOnce,
	}}
	for name, c := range map[string]client.Controlled{"ingress": suite.Ingress, "gateway-api": suite.GatewayAPI} {
		e := entrance{name: name, key: c.APIKey, namespace: c.Namespace}
		if c.APIURL != "" && c.RouterURL != "" {
			var err error
			if e.http, err = c.HTTP(suite.BaseDomain, false); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if e.http1, err = c.HTTP(suite.BaseDomain, true); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			asks := *e.http // of agents only what a controller answers is of interest
			asks.Transport = client.Patient{Next: asks.Transport, Again: &askedAgain}
			e.apis = []client.API{client.NewAPI(&asks, c.APIURL, c.APIKey)}
		}
		e.running = sync.OnceValues(e.startShared)
		entrances = append(entrances, e)
	}
	return nil
}

// startShared starts a sandbox that lives as long as the run.
func (e entrance) startShared() (client.Runtime, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*readyLimit)
	defer cancel()
	session := newSession()
	sharedSessions.Lock()
	sharedSessions.elsewhere = append(sharedSessions.elsewhere, func(ctx context.Context) error { return stopSession(ctx, e.api(), session) })
	sharedSessions.Unlock()
	body, err := conformance.Body("v1a", session, suite.SandboxImage)
	if err != nil {
		return client.Runtime{}, err
	}
	if _, err := e.api().Start(ctx, body); err != nil {
		return client.Runtime{}, err
	}
	var r client.Runtime
	err = client.Poll(ctx, pollEvery, readyLimit, func(ctx context.Context) (string, bool) {
		if r, err = e.api().Session(ctx, session); err != nil {
			return err.Error(), false
		}
		return fmt.Sprintf("%+v", r), r.Status == "running"
	})
	return r, err
}

// byEachWay runs a test through each entrance.
func byEachWay(t *testing.T, test func(t *testing.T, e entrance)) {
	t.Helper()
	for _, e := range entrances {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			e.there(t)
			test(t, e)
		})
	}
}

// byControllers runs a test through the entrances that are not ours.
func byControllers(t *testing.T, test func(t *testing.T, e entrance)) {
	t.Helper()
	for _, e := range entrances {
		if e.router {
			continue
		}
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			e.there(t)
			test(t, e)
		})
	}
}

func (e entrance) there(t *testing.T) {
	t.Helper()
	if len(e.apis) == 0 {
		t.Fatalf("no API or no controller is named for %s: this check needs an installation with ROUTING_MODE=%s", e.name, e.name)
	}
}

func (e entrance) api() client.API { return e.apis[0] }

func (e entrance) sharedRunning(t *testing.T) client.Runtime {
	t.Helper()
	return try(e.running()).or(t)
}

// agent is a sandbox as its client reaches it; base is one of bases.
func (e entrance) agent(base string, r client.Runtime) client.Agent {
	return client.NewAgent(e.http, base, r.SessionAPIKey)
}

func (e entrance) socket(base string, r client.Runtime) client.Agent {
	return client.NewAgent(e.http1, base, r.SessionAPIKey)
}

// bases are all URLs under which a sandbox's services can be reached. Only our
// router leads by the runtime id too.
func (e entrance) bases(r client.Runtime) map[string]string {
	all := bases(r)
	for name := range all {
		if !e.router && strings.HasSuffix(name, " by runtime id") {
			delete(all, name)
		}
	}
	return all
}

func (e entrance) aliveNow(t *testing.T, r client.Runtime) {
	t.Helper()
	for _, path := range []string{"/alive", "/health"} {
		answer := do(t, e.agent(r.URL, r).Caller, client.Request{Path: path, Bare: true})
		if !answer.OK() {
			t.Fatalf("running, ready, but %s", answer)
		}
	}
}
