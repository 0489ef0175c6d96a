package gateway_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/gateway"
)

// client talks to one gateway.
type client struct {
	t    *testing.T
	url  string
	http *http.Client
	stop func() error
}

type object map[string]any

func (o object) text(field string) string { s, _ := o[field].(string); return s }

func (f *fleet) gateway() *client {
	f.t.Helper()
	return gatewayAt(f.t, f.nats.ClientURL())
}

// gatewayAt is a gateway whose NATS is there.
func gatewayAt(t *testing.T, nats string) *client {
	t.Helper()
	return gatewayWith(t, gateway.Config{NATS: natsx.Config{URL: nats, Replicas: 1}})
}

// gatewayWith is a gateway with keys of two tenants.
func gatewayWith(t *testing.T, cfg gateway.Config) *client {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys.yaml")
	body := "keys:\n"
	for _, line := range []string{"rotating default true", "other other false"} {
		var name, tenant, rotate string
		if _, err := fmt.Sscan(line, &name, &tenant, &rotate); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte("key-" + name))
		body += fmt.Sprintf("  - {name: %s, sha256: %s, tenant: %s, rotate_on_resume: %s}\n", name, hex.EncodeToString(sum[:]), tenant, rotate)
	}
	if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.ListenAddress, cfg.APIKey, cfg.APIKeysFile, cfg.SealingKey, cfg.ResumeActive = "127.0.0.1", "key-plain", file, sealingKey, 200
	g, err := gateway.New(cfg, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	tr := &http.Transport{MaxIdleConnsPerHost: 32}
	stop := sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop(); tr.CloseIdleConnections() })
	return &client{t: t, url: "http://" + g.Addr().String(), http: &http.Client{Transport: tr, Timeout: 15 * time.Second}, stop: stop}
}

func (c *client) do(key, method, path, body string) (int, object, http.Header) {
	r, err := http.NewRequestWithContext(context.Background(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Error(err)
		return 0, nil, nil
	}
	r.Header.Set("X-API-Key", key)
	resp, err := c.http.Do(r)
	if err != nil {
		c.t.Errorf("%s %s: %v", method, path, err)
		return 0, nil, nil
	}
	defer func() { _ = resp.Body.Close() }()
	var raw bytes.Buffer
	_, _ = io.Copy(&raw, resp.Body)
	var o object
	if err := json.Unmarshal(raw.Bytes(), &o); err != nil {
		c.t.Errorf("%s %s: %d %s", method, path, resp.StatusCode, raw.Bytes())
	}
	return resp.StatusCode, o, resp.Header
}

func (c *client) want(status int, key, method, path, body string) object {
	c.t.Helper()
	got, o, _ := c.do(key, method, path, body)
	if got != status {
		c.t.Errorf("%s %s: %d %v, want %d", method, path, got, o, status)
	}
	return o
}

func (c *client) ready() *client {
	c.t.Helper()
	end := time.Now().Add(10 * time.Second)
	for {
		status, o, _ := c.do("", http.MethodGet, "/readiness", "")
		if status == http.StatusOK && o.text("status") == "ok" {
			return c
		}
		if time.Now().After(end) {
			c.t.Fatalf("never ready: %v", o)
		}
	}
}

func startBody(session string) string { return `{"image":"img:1","session_id":"` + session + `"}` }
func idBody(o object) string          { return `{"runtime_id":"` + o.text("runtime_id") + `"}` }

func TestWholeLife(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	f.serve()
	a, b := f.gateway().ready(), f.gateway().ready()

	o := a.want(200, "key-plain", "POST", "/start", startBody("s"))
	key := o.text("session_api_key")
	if o.text("status") != "starting" || key == "" || o.text("url") == "" {
		t.Errorf("started %v", o)
	}
	// The other gateway knows at once, and has the key.
	if got := b.want(200, "key-plain", "GET", "/sessions/s", ""); got.text("session_api_key") != key {
		t.Errorf("the other gateway says %v", got)
	}
	b.want(200, "key-plain", "GET", "/runtime/"+o.text("runtime_id"), "")
	for _, c := range []*client{a, b} { // another tenant's
		c.want(404, "key-other", "GET", "/sessions/s", "")
		c.want(404, "key-other", "POST", "/stop", idBody(o))
	}

	if got := b.want(200, "key-plain", "POST", "/pause", idBody(o)); got.text("status") != "paused" || got.text("pod_status") != "not found" {
		t.Errorf("paused %v", got)
	}
	b.want(200, "key-plain", "POST", "/pause", idBody(o))
	if got := a.want(200, "key-plain", "POST", "/resume", idBody(o)); got.text("session_api_key") != key || got.text("url") != o.text("url") {
		t.Errorf("resumed %v", got)
	}
	a.want(200, "key-plain", "POST", "/resume", idBody(o)) // it runs already
	if got := b.want(200, "key-plain", "GET", "/list", ""); fmt.Sprint(got["total"]) != "1" {
		t.Errorf("list %v", got)
	}

	if got := b.want(200, "key-plain", "POST", "/stop", idBody(o)); got.text("status") != "stopped" || got["session_api_key"] != nil {
		t.Errorf("stopped %v", got)
	}
	a.want(200, "key-plain", "POST", "/stop", idBody(o))
	a.want(404, "key-plain", "POST", "/resume", idBody(o))
	anew := a.want(200, "key-plain", "POST", "/start", startBody("s"))
	if anew.text("runtime_id") == o.text("runtime_id") || anew.text("session_api_key") == key {
		t.Errorf("started anew %v", anew)
	}
	if got := b.want(200, "key-plain", "GET", "/sessions/s", ""); got.text("runtime_id") != anew.text("runtime_id") {
		t.Errorf("the other gateway says %v", got)
	}
	b.want(404, "key-plain", "GET", "/runtime/"+o.text("runtime_id"), "")
}

// together runs n calls over the gateways at once, and returns their answers.
func together(n int, call func(i int) object) []object {
	out := make([]object, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { out[i] = call(i) })
	}
	wg.Wait()
	return out
}

func TestAtOnce(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	f.serve()
	gateways := []*client{f.gateway().ready(), f.gateway().ready()}
	same := func(all []object) {
		t.Helper()
		for _, o := range all {
			if o.text("runtime_id") != all[0].text("runtime_id") || o.text("session_api_key") != all[0].text("session_api_key") {
				t.Errorf("%v and %v", o, all[0])
			}
		}
	}
	started := together(20, func(i int) object {
		return gateways[i%2].want(200, "key-plain", "POST", "/start", startBody("s"))
	})
	same(started)
	gateways[0].want(200, "key-plain", "POST", "/pause", idBody(started[0]))
	resumed := together(4, func(i int) object {
		return gateways[i%2].want(200, "key-rotating", "POST", "/resume", idBody(started[0]))
	})
	same(resumed)
	if resumed[0].text("session_api_key") == started[0].text("session_api_key") {
		t.Error("the key did not change")
	}
}

// Until all sandboxes are known once, nothing is said of any.
func TestBeforeTheViewsAreComplete(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	g := f.gateway()
	g.want(200, "", "GET", "/health", "")
	g.want(503, "", "GET", "/readiness", "")
	g.want(503, "key-plain", "GET", "/sessions/s", "")
	g.want(503, "key-plain", "GET", "/list", "")
	f.serve()
	g.ready()
	g.want(404, "key-plain", "GET", "/sessions/s", "")
	g.want(200, "key-plain", "GET", "/list", "")
}

func TestNATSGone(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	f.serve()
	g := f.gateway().ready()
	o := g.want(200, "key-plain", "POST", "/start", startBody("s"))
	f.nats.Shutdown()
	f.nats.WaitForShutdown()
	g.want(200, "key-plain", "GET", "/sessions/s", "")
	g.want(503, "key-plain", "GET", "/sessions/none", "")
	status, list, header := g.do("key-plain", "GET", "/list", "")
	if status != 200 || fmt.Sprint(list["total"]) != "1" || header.Get("Sandbar-View-Age") == "" {
		t.Errorf("list: %d %v %v", status, list, header)
	}
	begin := time.Now()
	if got := g.want(503, "key-plain", "POST", "/pause", idBody(o)); got.text("error") != string(sandbox.CodeUnavailable) || time.Since(begin) > 5*time.Second {
		t.Errorf("pause: %v after %s", got, time.Since(begin))
	}
	if got := g.want(200, "", "GET", "/readiness", ""); got.text("status") != "degraded" {
		t.Errorf("readiness: %v", got)
	}
}

// A request under way is answered before the process ends.
func TestDrain(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	working, finish := make(chan struct{}), make(chan struct{})
	f.before = func(sandbox.Command) { close(working); <-finish }
	f.serve()
	g := f.gateway().ready()
	answered := make(chan int, 1)
	go func() {
		status, _, _ := g.do("key-plain", "POST", "/start", startBody("s"))
		answered <- status
	}()
	<-working
	stopped := make(chan error, 1)
	go func() { stopped <- g.stop() }()
	for {
		if status, o, _ := g.do("", "GET", "/readiness", ""); status == http.StatusServiceUnavailable {
			if o.text("detail") == "" {
				t.Errorf("readiness says %v", o)
			}
			break
		}
	}
	close(finish)
	if status := <-answered; status != 200 {
		t.Errorf("answered %d", status)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stopped: %v", err)
	}
}
