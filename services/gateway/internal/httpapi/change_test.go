package httpapi_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/gateway/internal/httpapi"
)

func TestChange(t *testing.T) {
	t.Parallel()
	const one = `{"runtime_id":"` + runtimeA + `","x":1}`
	for name, c := range map[string]struct {
		path   string
		status sandbox.Status // of the sandbox; "": there is none
		body   string
		key    string
		index  error
		want   int
		detail string
		verb   sandbox.Verb // that is sent; "": none
		rotate bool
	}{
		"pause":                       {path: "/pause", status: "running", body: one, want: 200, verb: sandbox.Pause},
		"pause again":                 {path: "/pause", status: "paused", body: one, want: 200, verb: sandbox.Pause},
		"pause what starts":           {path: "/pause", status: "starting", body: one, want: 200, verb: sandbox.Pause},
		"pause what is stopped":       {path: "/pause", status: "stopped", body: one, want: 404, detail: "stopped"},
		"resume":                      {path: "/resume", status: "paused", body: one, want: 200, verb: sandbox.Resume},
		"resume what failed":          {path: "/resume", status: "error", body: one, want: 200, verb: sandbox.Resume},
		"resume what runs":            {path: "/resume", status: "running", body: one, want: 200, verb: sandbox.Resume},
		"resume what is stopped":      {path: "/resume", status: "stopped", body: one, want: 404, detail: "stopped"},
		"resume, rotating":            {path: "/resume", status: "paused", body: one, key: "key-strict", want: 200, verb: sandbox.Resume, rotate: true},
		"resume strictly what runs":   {path: "/resume", status: "running", body: one, key: "key-strict", want: 409, detail: "is running"},
		"resume strictly what starts": {path: "/resume", status: "starting", body: one, key: "key-strict", want: 409, detail: "is starting"},
		"resume strictly, unsure":     {path: "/resume", status: "running", body: one, key: "key-strict", index: unsure, want: 503},
		"stop":                        {path: "/stop", status: "running", body: one, want: 200, verb: sandbox.Stop},
		"stop with a rotating key":    {path: "/stop", status: "running", body: one, key: "key-strict", want: 200, verb: sandbox.Stop},
		"stop what is stopped":        {path: "/stop", status: "stopped", body: one, want: 200},
		"stop what is not there":      {path: "/stop", body: one, want: 404, detail: "no such sandbox"},
		"stop, unsure":                {path: "/stop", body: one, index: unsure, want: 503},
		"stop what is another's":      {path: "/stop", status: "running", body: one, key: "key-b", want: 404},
		"stop null":                   {path: "/stop", body: `{"runtime_id":null}`, want: 400, detail: "runtime_id"},
		"stop nothing":                {path: "/stop", body: `{}`, want: 400, detail: "runtime_id"},
		"stop a number":               {path: "/stop", body: `{"runtime_id":7}`, want: 400, detail: "runtime_id must be a string"},
		"stop an empty id":            {path: "/stop", body: `{"runtime_id":""}`, want: 400, detail: "runtime_id"},
		"stop a list":                 {path: "/stop", body: `[]`, want: 400, detail: "JSON object"},
		"resume what is not there":    {path: "/resume", body: one, want: 404},
		"pause what is not there":     {path: "/pause", body: one, want: 404},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, httpapi.Options{ResumeActive: http.StatusOK})
			b.index = c.index
			if c.status != "" {
				b.put(newView("tenant-a", "s", runtimeA), c.status)
			}
			if c.key == "" {
				c.key = "key-a"
			}
			b.post(c.path, c.body, "X-API-Key", c.key).want(t, c.want, c.detail)
			if c.verb == "" {
				if len(b.commands) != 0 {
					t.Errorf("sent %+v", b.commands)
				}
				return
			}
			if len(b.commands) != 1 {
				t.Fatalf("sent %+v", b.commands)
			}
			got := b.commands[0]
			want := fmt.Sprint(c.verb, "tenant-a", "s", runtimeA, c.rotate)
			if s := fmt.Sprint(got.Verb, got.Tenant, got.SessionID, got.RuntimeID, got.RotateKey); s != want {
				t.Errorf("sent %s, want %s", s, want)
			}
		})
	}
}

var unsure = sandbox.Errorf(sandbox.CodeUnavailable, "unsure")

// Memory may be behind: a sandbox that another gateway has just started is
// found, and in strict mode one that it has just paused is resumed.
func TestChangeReadsTheIndex(t *testing.T) {
	t.Parallel()
	b := newBench(t, httpapi.Options{ResumeActive: http.StatusConflict})
	b.onIndex = func() { b.put(newView("tenant-a", "s", runtimeA), sandbox.StatusRunning) }
	b.post("/pause", `{"runtime_id":"`+runtimeA+`"}`).want(t, http.StatusOK, "")

	b.onIndex = func() {
		v := newView("tenant-a", "s", runtimeA)
		v.Generation++
		b.put(v, sandbox.StatusPaused)
	}
	b.post("/resume", `{"runtime_id":"`+runtimeA+`"}`).want(t, http.StatusOK, "")
	if n := len(b.commands); n != 2 {
		t.Errorf("%d commands", n)
	}
}

func TestStartRotates(t *testing.T) {
	t.Parallel()
	b := newBench(t, httpapi.Options{})
	b.post("/start", `{"image":"i","session_id":"s"}`, "X-API-Key", "key-strict").want(t, http.StatusOK, "")
	if !b.commands[0].RotateKey {
		t.Error("a start of what is paused does not rotate")
	}
}
