package bed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sandbar-io/sandbar/tools/devstack/stack"
	"github.com/sandbar-io/sandbar/tools/internal/stubapi"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/load"
)

// Bed is a running stack, and the client that asks it.
type Bed struct {
	Stub  *stubapi.Server // nil beside a real API server
	Stack *stack.Stack
	HTTP  *http.Client
}

func newBed(stub *stubapi.Server) *Bed { return &Bed{Stub: stub, HTTP: NewClient()} }

// manyIdle is above the questions that are open at the same time.
const manyIdle = 4096

// NewClient keeps a connection for each question that is open, and dials all at
// the loopback.
func NewClient() *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DialContext:  (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		MaxIdleConns: manyIdle, MaxIdleConnsPerHost: manyIdle, DisableCompression: true,
	}}
}

// Close ends the stack and the stub.
func (b *Bed) Close() error {
	var errs []error
	if b.Stack != nil {
		errs = append(errs, b.Stack.Stop())
		b.Stack = nil
	}
	if b.Stub != nil {
		errs = append(errs, b.Stub.Close())
		b.Stub = nil
	}
	b.HTTP.CloseIdleConnections()
	return errors.Join(errs...)
}

// Gateway is the URL of the n-th gateway.
func (b *Bed) Gateway(n int) string { return b.Stack.Of("gateway")[n].URL }

// Get asks with the API key, and wants 200.
func (b *Bed) Get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-API-Key", b.Stack.Secrets.APIKey)
	return Answer(b.HTTP, req)
}

// Post sends JSON with the API key, and wants 200.
func (b *Bed) Post(ctx context.Context, url string, body []byte) ([]byte, error) {
	return b.post(ctx, b.Stack.Secrets.APIKey, url, body)
}

func (b *Bed) post(ctx context.Context, key, url string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-API-Key", key)
	req.Header.Set("Content-Type", "application/json")
	return Answer(b.HTTP, req)
}

// Answer is a request's whole answer, which must be 200.
func Answer(client *http.Client, req *http.Request) ([]byte, error) {
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s: %d %.200s", req.Method, req.URL.Path, resp.StatusCode, body)
	}
	return body, nil
}

// StartBody is what a client sends to start a session: as long as OpenHands'.
func StartBody(session string) []byte {
	raw, _ := json.Marshal(map[string]any{ // strings and numbers
		"session_id": session, "image": "registry.bench:5000/sandbar/agent-server:1.2.3",
		"command":     []string{"/usr/local/bin/openhands-agent-server", "--port", "60000"},
		"working_dir": "/", "resource_factor": 1, "run_as_user": 10001, "fs_group": 10001,
		"environment": map[string]string{
			"OH_WEBHOOKS_0_BASE_URL": "https://app.bench.localhost/api/v1/webhooks", "LOG_JSON": "true",
			"OH_CONVERSATIONS_PATH": "/workspace/conversations", "OH_BASH_EVENTS_DIR": "/workspace/bash_events",
		},
	})
	return raw
}

// Runtime is what is read of a runtime object.
type Runtime struct {
	RuntimeID string `json:"runtime_id"`
	SessionID string `json:"session_id"`
	PodStatus string `json:"pod_status"`
	URL       string `json:"url"`
}

// Start starts a session.
func (b *Bed) Start(ctx context.Context, gateway int, session string) (Runtime, error) {
	return b.StartAs(ctx, b.Stack.Secrets.APIKey, gateway, session)
}

// StartAs starts a session with another API key.
func (b *Bed) StartAs(ctx context.Context, key string, gateway int, session string) (Runtime, error) {
	var r Runtime
	body, err := b.post(ctx, key, b.Gateway(gateway)+"/start", StartBody(session))
	if err == nil {
		err = json.Unmarshal(body, &r)
	}
	return r, err
}

// List is what a gateway's /list shows.
func (b *Bed) List(ctx context.Context, gateway string) ([]Runtime, error) {
	var l struct {
		Runtimes []Runtime `json:"runtimes"`
	}
	body, err := b.Get(ctx, gateway+"/list")
	if err == nil {
		err = json.Unmarshal(body, &l)
	}
	return l.Runtimes, err
}

// Session is the name of the n-th session that Seed makes.
func Session(n int) string { return fmt.Sprintf("bench-%05d", n) }

// atOnce is how many starts Seed has open.
const atOnce = 32

// Seed starts the sessions up to the n-th, makes their pods ready at an address,
// and returns when every gateway shows them so.
func (b *Bed) Seed(ctx context.Context, n int, ip string) error {
	r := load.Each(ctx, atOnce, n, func(ctx context.Context, i int) error {
		rt, err := b.Start(ctx, i%len(b.Stack.Of("gateway")), Session(i))
		if err != nil {
			return err
		}
		return b.Ready(rt.RuntimeID, true, ip)
	})
	if r.Failed > 0 {
		return fmt.Errorf("%d of %d sandboxes could not be made: %w", r.Failed, n, r.Failure)
	}
	return b.Settled(ctx, n)
}

// Settled returns when every gateway shows n sandboxes, all of them ready.
func (b *Bed) Settled(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for _, g := range b.Stack.Of("gateway") {
		if err := Until(ctx, func() error { return b.shows(ctx, g.URL, n) }); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bed) shows(ctx context.Context, gateway string, n int) error {
	all, err := b.List(ctx, gateway)
	if err != nil {
		return err
	}
	ready := 0
	for _, r := range all {
		if r.PodStatus == "ready" {
			ready++
		}
	}
	if ready != n {
		return fmt.Errorf("%d of %d sandboxes are shown as ready", ready, n)
	}
	return nil
}

// Ready makes the first pod of a sandbox ready, or not ready, as a kubelet would.
func (b *Bed) Ready(runtimeID string, ready bool, ip string) error {
	return b.Stub.SetPod(b.Stack.SandboxNamespace, runtimeID+"-1", func(p *corev1.Pod) { stubapi.Ready(p, ready, ip) })
}

// Host is the host name in a URL of a sandbox.
func Host(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	host, _, _ := strings.Cut(rest, "/")
	return host
}
