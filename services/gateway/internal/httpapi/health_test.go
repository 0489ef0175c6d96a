package httpapi_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/services/gateway/internal/httpapi"
)

func TestReadiness(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*bench)
		status int
		state  string
	}{
		"all is well":       {func(*bench) {}, 200, "ok"},
		"NATS away":         {func(b *bench) { b.nats = errors.New("NATS is RECONNECTING") }, 200, "degraded"},
		"no provisioner":    {func(b *bench) { b.absent = true }, 200, "degraded"},
		"views old":         {func(b *bench) { b.status.Age = time.Minute }, 200, "degraded"},
		"no heartbeat":      {func(b *bench) { b.status.Age = -1 }, 200, "degraded"},
		"never complete":    {func(b *bench) { b.status.Ready = false }, 503, "unready"},
		"draining":          {func(b *bench) { b.draining = true }, 503, "unready"},
		"permission denied": {func(b *bench) { b.denied = true }, 503, "unready"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, httpapi.Options{})
			c.change(b)
			a := b.get("/readiness", "X-API-Key", "")
			if a.Code != c.status || a.object["status"] != c.state {
				t.Errorf("%d %s", a.Code, a.Body)
			}
			for _, part := range []string{"nats", "views", "provisioners"} {
				if _, ok := a.object[part].(map[string]any); !ok {
					t.Errorf("%s is not told: %s", part, a.Body)
				}
			}
			for _, alive := range []string{"/health", "/liveness"} {
				b.get(alive).want(t, http.StatusOK, "")
			}
		})
	}
}
