package httpapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sandbar-io/sandbar/pkg/obs"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
	"github.com/sandbar-io/sandbar/services/gateway/internal/command"
	"github.com/sandbar-io/sandbar/services/gateway/internal/httpapi"
	"github.com/sandbar-io/sandbar/services/gateway/internal/keys"
	"github.com/sandbar-io/sandbar/services/gateway/internal/registry"
	"github.com/sandbar-io/sandbar/services/gateway/internal/warm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is an API whose surroundings are scripted.
type bench struct {
	http.Handler
	t      testing.TB
	memory *views.Memory
	logs   *observer.ObservedLogs

	mu       sync.Mutex
	keys     map[string]keys.Key
	index    error // of a read index
	onIndex  func()
	indexed  int
	status   views.Status
	nats     error
	denied   bool
	absent   bool
	draining bool
	answer   func(sandbox.Command) (*sandbox.View, error)
	commands []sandbox.Command
	origins  []command.Origin
	claimed  []string // runtime ids
	image    *registry.Image
	warm     []warm.Config
	imageErr error
}

func newBench(t testing.TB, o httpapi.Options) *bench {
	core, logs := observer.New(zapcore.DebugLevel)
	b := &bench{
		t: t, memory: views.NewMemory(), logs: logs,
		keys: map[string]keys.Key{
			"key-a":      {Name: "a", Tenant: "tenant-a"},
			"key-b":      {Name: "b", Tenant: "tenant-b"},
			"key-strict": {Name: "strict", Tenant: "tenant-a", RotateOnResume: true, ResumeActive: 409},
			"key-tight":  {Name: "tight", Tenant: "tenant-a", Limits: tight},
		},
		warm:   []warm.Config{},
		status: views.Status{Ready: true, Age: 100 * time.Millisecond, Leader: "watcher-0", Sandboxes: 1},
	}
	b.answer = func(c sandbox.Command) (*sandbox.View, error) {
		v := newView(c.Tenant, c.SessionID, c.RuntimeID)
		if c.Verb == sandbox.Start {
			v.RuntimeID = "startedstartedst"
		}
		return v, nil
	}
	b.Handler = httpapi.New(httpapi.Needs{
		Keys: b, Views: b, Commands: b, Claims: b, Images: images{b}, Warm: b, Metrics: obs.NewRegistry(), Log: zap.New(core),
		Checks: httpapi.Checks{
			NATS: func() error { return b.nats }, Denied: func() bool { return b.denied },
			Provisioners: func() bool { return !b.absent }, Draining: func() bool { return b.draining },
		},
	}, o)
	return b
}

func (b *bench) Find(presented string) (keys.Key, bool) {
	k, ok := b.keys[presented]
	return k, ok
}

func (b *bench) Configs() []warm.Config { return b.warm }

func (b *bench) Memory() *views.Memory { return b.memory }
func (b *bench) Status() views.Status  { return b.status }

func (b *bench) ReadIndex(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.indexed++
	if b.onIndex != nil {
		b.onIndex()
	}
	return b.index
}

func (b *bench) Do(_ context.Context, c sandbox.Command, from command.Origin) (*sandbox.View, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.commands, b.origins = append(b.commands, c), append(b.origins, from)
	return b.answer(c)
}

func (b *bench) Claim(v *sandbox.View) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.claimed = append(b.claimed, v.RuntimeID)
}

type images struct{ b *bench }

func (i images) Find(context.Context, string) (*registry.Image, error) {
	return i.b.image, i.b.imageErr
}

// answer is what came back; object is its body where that is an object.
type answer struct {
	*httptest.ResponseRecorder
	object map[string]any
}

func (b *bench) do(method, target, body string, header ...string) answer {
	b.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("X-API-Key", "key-a")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	a := answer{ResponseRecorder: httptest.NewRecorder()}
	b.ServeHTTP(a, r)
	_ = json.Unmarshal(a.Body.Bytes(), &a.object) // a batch is no object
	if a.Code >= 400 {
		b.checkError(a)
	}
	return a
}

func (b *bench) get(target string, header ...string) answer {
	b.t.Helper()
	return b.do(http.MethodGet, target, "", header...)
}

func (b *bench) post(target, body string, header ...string) answer {
	b.t.Helper()
	return b.do(http.MethodPost, target, body, header...)
}

// checkError: every error is an object with two strings.
func (b *bench) checkError(a answer) {
	b.t.Helper()
	detail, _ := a.object["detail"].(string)
	code, _ := a.object["error"].(string)
	if detail == "" || code == "" || a.Header().Get("Content-Type") != "application/json" {
		b.t.Errorf("%d with the body %s", a.Code, a.Body)
	}
}

func (a answer) want(t *testing.T, status int, detail string) {
	t.Helper()
	if got, _ := a.object["detail"].(string); a.Code != status || !strings.Contains(got, detail) {
		t.Errorf("answered %d %s; want %d with %q", a.Code, a.Body, status, detail)
	}
}

const runtimeA = "aaaaaaaaaaaaaaaa"

var born = time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)

func newView(tenant, session, runtimeID string) *sandbox.View {
	p := sandbox.URLPattern{Scheme: "https", BaseDomain: "sandbar.example", Separator: "."}
	return &sandbox.View{
		Tenant: tenant, SessionID: session, Record: sandbox.RecordName(tenant, session), RuntimeID: runtimeID,
		Generation: 1, Incarnation: 1, Order: 1, Status: sandbox.StatusRunning, PodStatus: sandbox.PodReady,
		Route: p.NewRoute("label", sandbox.DefaultPorts), SessionKey: "session-key-" + session,
		Image: "img:1", CreatedAt: born,
	}
}

func (b *bench) put(v *sandbox.View, status sandbox.Status) *sandbox.View {
	v.Status = status
	if status != sandbox.StatusRunning {
		v.PodStatus = sandbox.PodNotFound
	}
	b.memory.Merge(v, 1)
	return v
}
