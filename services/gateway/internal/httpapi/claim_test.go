package httpapi_test

import (
	"net/http"
	"reflect"
	"slices"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/gateway/internal/httpapi"
	"github.com/sandbar-io/sandbar/services/gateway/internal/keys"
)

// What shows that a sandbox's client knows of it, and what does not.
func TestClaims(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status sandbox.Status
		ask    func(b *bench) answer
		want   []string
	}{
		"session":             {sandbox.StatusStarting, func(b *bench) answer { return b.get("/sessions/s") }, []string{runtimeA}},
		"runtime":             {sandbox.StatusRunning, func(b *bench) answer { return b.get("/runtime/" + runtimeA) }, []string{runtimeA}},
		"batch":               {sandbox.StatusRunning, func(b *bench) answer { return b.get("/sessions/batch?ids=s") }, []string{runtimeA}},
		"a start again":       {sandbox.StatusStarting, func(b *bench) answer { return b.post("/start", `{"image":"i","session_id":"s"}`) }, []string{runtimeA}},
		"resume of what runs": {sandbox.StatusRunning, func(b *bench) answer { return b.post("/resume", `{"runtime_id":"`+runtimeA+`"}`) }, []string{runtimeA}},
		"a first start":       {"", func(b *bench) answer { return b.post("/start", `{"image":"i","session_id":"s"}`) }, nil},
		"list":                {sandbox.StatusRunning, func(b *bench) answer { return b.get("/list") }, nil},
		"another tenant":      {sandbox.StatusRunning, func(b *bench) answer { return b.get("/sessions/s", "X-API-Key", "key-b") }, nil},
		"paused":              {sandbox.StatusPaused, func(b *bench) answer { return b.get("/sessions/s") }, nil},
		"a resume":            {sandbox.StatusPaused, func(b *bench) answer { return b.post("/resume", `{"runtime_id":"`+runtimeA+`"}`) }, nil},
		"failed":              {sandbox.StatusError, func(b *bench) answer { return b.get("/sessions/s") }, nil},
		"stop":                {sandbox.StatusRunning, func(b *bench) answer { return b.post("/stop", `{"runtime_id":"`+runtimeA+`"}`) }, nil},
		"unauthenticated":     {sandbox.StatusRunning, func(b *bench) answer { return b.get("/sessions/s", "X-API-Key", "x") }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, httpapi.Options{})
			if c.status != "" {
				b.put(newView("tenant-a", "s", runtimeA), c.status)
			}
			c.ask(b)
			if got := slices.Compact(b.claimed); !slices.Equal(got, c.want) {
				t.Errorf("claimed %v, want %v", got, c.want)
			}
		})
	}
}

func TestLifecycleOfTheKey(t *testing.T) {
	t.Parallel()
	own := &sandbox.Lifecycle{Idle: id(60), MaxAge: id(600)}
	const body = `{"image":"i","session_id":"s","lifecycle":{"idle_seconds":5,"pending_seconds":7}}`
	for name, c := range map[string]struct {
		key  keys.Key
		want *sandbox.Lifecycle
	}{
		"none":                  {keys.Key{}, &sandbox.Lifecycle{Idle: id(5), Pending: id(7)}},
		"own":                   {keys.Key{Lifecycle: own}, &sandbox.Lifecycle{Idle: id(5), MaxAge: id(600), Pending: id(7)}},
		"fixed":                 {keys.Key{Lifecycle: own, LifecycleFixed: true}, own},
		"fixed to the server's": {keys.Key{LifecycleFixed: true}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, httpapi.Options{})
			c.key.Tenant = "tenant-a"
			b.keys["key-a"] = c.key
			b.post("/start", body).want(t, http.StatusOK, "")
			if got := b.commands[0].Spec.Lifecycle; !reflect.DeepEqual(got, c.want) {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}
