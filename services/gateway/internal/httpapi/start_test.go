package httpapi_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/gateway/internal/httpapi"
)

func id(n int64) *int64 { return &n }

func TestStartAccepted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body string
		want sandbox.Spec
	}{
		"V0": {
			`{"image":"i","command":["/m","run","-n"],"working_dir":"/openhands/code/","environment":{"A":"1"},"session_id":"s","resource_factor":2}`,
			sandbox.Spec{Image: "i", Command: []string{"/m", "run", "-n"}, WorkingDir: "/openhands/code/", Environment: map[string]string{"A": "1"}, ResourceFactor: 2},
		},
		"V1": {
			`{"image":"i","command":null,"working_dir":"/workspace","environment":{},"session_id":"s","resource_factor":1,"run_as_user":10001,"run_as_group":10001,"fs_group":0}`,
			sandbox.Spec{Image: "i", WorkingDir: "/workspace", Environment: map[string]string{}, ResourceFactor: 1, RunAsUser: id(10001), RunAsGroup: id(10001), FSGroup: id(0)},
		},
		"SDK": {
			`{"image":"i","command":"/usr/local/bin/openhands-agent-server --port 60000","working_dir":"/","environment":{},"session_id":"s","runtime_class":"sysbox-runc","run_as_user":10001,"fs_group":10001,"image_pull_policy":"IfNotPresent"}`,
			sandbox.Spec{Image: "i", Command: []string{"/usr/local/bin/openhands-agent-server", "--port", "60000"}, WorkingDir: "/", Environment: map[string]string{}, ResourceFactor: 1, RuntimeClass: "sysbox-runc", RunAsUser: id(10001), FSGroup: id(10001), ImagePullPolicy: "IfNotPresent"},
		},
		"lifecycle": {
			`{"image":"i","session_id":"s","lifecycle":{"idle_seconds":0,"max_age_seconds":3600,"retention_seconds":null}}`,
			sandbox.Spec{Image: "i", ResourceFactor: 1, Lifecycle: &sandbox.Lifecycle{Idle: id(0), MaxAge: id(3600)}},
		},
		"no lifecycle":       {`{"image":"i","session_id":"s","lifecycle":null}`, sandbox.Spec{Image: "i", ResourceFactor: 1}},
		"little":             {`{"image":"i","session_id":"s"}`, sandbox.Spec{Image: "i", ResourceFactor: 1}},
		"all null":           {`{"image":"i","session_id":"s","command":null,"environment":null,"resource_factor":null,"run_as_user":null,"working_dir":null}`, sandbox.Spec{Image: "i", ResourceFactor: 1}},
		"no image":           {`{"session_id":"s"}`, sandbox.Spec{Image: "default:1", ResourceFactor: 1}},
		"unknown fields":     {`{"image":"i","session_id":"s","Image":7,"x":{"y":[[[]]]}}`, sandbox.Spec{Image: "i", ResourceFactor: 1}},
		"the last one wins":  {`{"image":"h","image":"i","session_id":"s"}`, sandbox.Spec{Image: "i", ResourceFactor: 1}},
		"quotes":             {`{"image":"i","session_id":"s","command":"sh -c 'echo \"$A\"; sleep 1' a\\ b \"\""}`, sandbox.Spec{Image: "i", ResourceFactor: 1, Command: []string{"sh", "-c", `echo "$A"; sleep 1`, "a b", ""}}},
		"an empty command":   {`{"image":"i","session_id":"s","command":" "}`, sandbox.Spec{Image: "i", ResourceFactor: 1, Command: []string{}}},
		"white space around": {" \n{\"image\" : \"i\" , \"session_id\":\"s\",\"command\" : null }\n ", sandbox.Spec{Image: "i", ResourceFactor: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, httpapi.Options{DefaultImage: "default:1"})
			b.post("/start", c.body, "Content-Type", "text/plain").want(t, http.StatusOK, "")
			if len(b.commands) != 1 {
				t.Fatalf("%d commands", len(b.commands))
			}
			got := b.commands[0]
			if got.Spec.Command == nil && c.want.Command != nil {
				got.Spec.Command = []string{}
			}
			if !reflect.DeepEqual(*got.Spec, c.want) {
				t.Errorf("spec %+v\nwant %+v", *got.Spec, c.want)
			}
			if got.Verb != sandbox.Start || got.Tenant != "tenant-a" || got.SessionID != "s" || got.RotateKey {
				t.Errorf("command %+v", got)
			}
		})
	}
}

func TestStartRefused(t *testing.T) {
	t.Parallel()
	with := func(member string) string { return `{"image":"i","session_id":"s",` + member + `}` }
	for name, c := range map[string]struct {
		body   string
		status int
		detail string
	}{
		"lifecycle, a number":        {with(`"lifecycle":20`), 400, "lifecycle must be an object"},
		"lifecycle, misspelt":        {with(`"lifecycle":{"idle":20}`), 400, `no clock "idle"`},
		"lifecycle, negative":        {with(`"lifecycle":{"idle_seconds":-1}`), 400, "idle_seconds must be between"},
		"lifecycle, a string":        {with(`"lifecycle":{"max_age_seconds":"1h"}`), 400, "max_age_seconds must be a whole number"},
		"lifecycle, a part":          {with(`"lifecycle":{"pending_seconds":1.5}`), 400, "pending_seconds must be a whole number"},
		"lifecycle, beyond all time": {with(`"lifecycle":{"unclaimed_seconds":99999999999}`), 400, "unclaimed_seconds must be between"},
		"empty body":                 {``, 400, "JSON object"},
		"null":                       {`null`, 400, "JSON object"},
		"a list":                     {`[]`, 400, "JSON object"},
		"a string":                   {`"x"`, 400, "JSON object"},
		"cut off":                    {`{"image":"i"`, 400, "JSON object"},
		"something behind":           {with(`"x":1`) + `{}`, 400, "JSON object"},
		"deep":                       {with(`"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000)), 400, "JSON object"},
		"not UTF-8":                  {with("\"x\":\"\xff\""), 400, "UTF-8"},
		"large":                      {with(`"x":"` + strings.Repeat("a", httpapi.MaxBody) + `"`), 413, "body"},
		"no session":                 {`{"image":"i"}`, 400, "session_id"},
		"session null":               {`{"image":"i","session_id":null}`, 400, "session_id"},
		"session a number":           {`{"image":"i","session_id":1}`, 400, "session_id must be a string"},
		"session long":               {`{"image":"i","session_id":"` + strings.Repeat("s", 257) + `"}`, 400, "session_id"},
		"session with comma":         {`{"image":"i","session_id":"a,b"}`, 400, "session_id"},
		"no image":                   {`{"session_id":"s"}`, 400, "image"},
		"empty image":                {`{"session_id":"s","image":""}`, 400, "image"},
		"image a number":             {`{"session_id":"s","image":1}`, 400, "image must be a string"},
		"image malformed":            {`{"session_id":"s","image":"a b"}`, 400, "image"},
		"command a number":           {with(`"command":1`), 400, "command"},
		"command mixed":              {with(`"command":["a",1]`), 400, "argument 1"},
		"command with null":          {with(`"command":[null]`), 400, "argument 0"},
		"quote open":                 {with(`"command":"sh -c 'x"`), 400, "command"},
		"escape open":                {with(`"command":"sh \\"`), 400, "command"},
		"working_dir":                {with(`"working_dir":"relative"`), 400, "working_dir"},
		"environment a list":         {with(`"environment":["A=1"]`), 400, "environment"},
		"value a number":             {with(`"environment":{"SECRET_VAR":31337}`), 400, "SECRET_VAR"},
		"value null":                 {with(`"environment":{"SECRET_VAR":null}`), 400, "SECRET_VAR"},
		"name malformed":             {with(`"environment":{"A=B":"31337"}`), 400, "A=B"},
		"value large":                {with(`"environment":{"BIG_VAR":"` + strings.Repeat("x", 101<<10) + `"}`), 413, "BIG_VAR"},
		"factor 0":                   {with(`"resource_factor":0`), 400, "resource_factor"},
		"factor negative":            {with(`"resource_factor":-1`), 400, "resource_factor"},
		"factor a string":            {with(`"resource_factor":"2"`), 400, "resource_factor"},
		"factor a fraction":          {with(`"resource_factor":1.5`), 400, "resource_factor"},
		"factor huge":                {with(`"resource_factor":9223372036854775807`), 400, "resource_factor"},
		"factor beyond":              {with(`"resource_factor":1e30`), 400, "resource_factor"},
		"factor a boolean":           {with(`"resource_factor":true`), 400, "resource_factor"},
		"user negative":              {with(`"run_as_user":-1`), 400, "run_as_user"},
		"group a string":             {with(`"run_as_group":"root"`), 400, "run_as_group"},
		"fs_group huge":              {with(`"fs_group":4294967296`), 400, "fs_group"},
		"class malformed":            {with(`"runtime_class":"No Class"`), 400, "runtime_class"},
		"pull policy unknown":        {with(`"image_pull_policy":"Sometimes"`), 400, "image_pull_policy"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, httpapi.Options{})
			a := b.post("/start", c.body)
			a.want(t, c.status, c.detail)
			if len(b.commands) != 0 {
				t.Error("a command was sent")
			}
			if strings.Contains(a.Body.String(), "31337") {
				t.Errorf("the value is told: %s", a.Body)
			}
		})
	}
}

// What a provisioner says reaches the client with its code's status.
func TestStartErrors(t *testing.T) {
	t.Parallel()
	for code, status := range map[sandbox.Code]int{
		sandbox.CodeInvalid: 400, sandbox.CodeForbidden: 403, sandbox.CodeNotFound: 404, sandbox.CodeConflict: 409,
		sandbox.CodeOvertaken: 409, sandbox.CodeQuota: 400, sandbox.CodeRateLimited: 429, sandbox.CodeTooLarge: 413, sandbox.CodeExpired: 504,
		sandbox.CodeTimeout: 504, sandbox.CodeUnavailable: 503, sandbox.CodeInternal: 500, "of_tomorrow": 500,
	} {
		b := newBench(t, httpapi.Options{})
		b.answer = func(sandbox.Command) (*sandbox.View, error) { return nil, sandbox.Errorf(code, "said %s", code) }
		a := b.post("/start", `{"image":"i","session_id":"s"}`)
		a.want(t, status, "said "+string(code))
		if a.object["error"] != string(code) {
			t.Errorf("%s: error %v", code, a.object["error"])
		}
	}
}

// Whatever is sent, the answer is 200 or says what is wrong with it.
func FuzzStartBody(f *testing.F) {
	for _, seed := range []string{
		`{"image":"i","session_id":"s","command":"a 'b'","environment":{"A":"1"},"resource_factor":1}`,
		`{"image":"i","session_id":"s","command":["a"],"run_as_user":0}`,
		`{"image":null,"session_id":"\ud800"}`, `[]`, `{`, `{"a":{"a":{"a":[]}}}`, `{"image":"i","session_id":"s","command":"\\"}`,
	} {
		f.Add([]byte(seed))
	}
	b := newBench(f, httpapi.Options{DefaultImage: "default:1"})
	b.answer = func(c sandbox.Command) (*sandbox.View, error) {
		b.commands, b.origins = nil, nil
		if err := c.Spec.Validate(); err != nil {
			return nil, err
		}
		return newView(c.Tenant, c.SessionID, runtimeA), nil
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/start", strings.NewReader(string(body)))
		r.Header.Set("X-API-Key", "key-a")
		w := httptest.NewRecorder()
		b.ServeHTTP(w, r)
		var object map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &object); err != nil || w.Code >= 500 {
			t.Errorf("answered %d %s", w.Code, w.Body)
		}
		if _, ok := object["detail"].(string); ok != (w.Code != http.StatusOK) {
			t.Errorf("answered %d %s", w.Code, w.Body)
		}
	})
}

// A start says whether its gateway knows of a sandbox of the session, a stopped one
// too.
func TestStartOfAFreshSession(t *testing.T) {
	t.Parallel()
	b := newBench(t, httpapi.Options{})
	b.put(newView("tenant-a", "running", runtimeA), sandbox.StatusRunning)
	b.put(newView("tenant-a", "stopped", "stoppedstoppedst"), sandbox.StatusStopped)
	b.put(newView("tenant-b", "new", "anotheranotheran"), sandbox.StatusRunning)
	for session, want := range map[string]bool{"new": true, "running": false, "stopped": false} {
		b.commands = nil
		b.post("/start", `{"image":"i","session_id":"`+session+`"}`).want(t, http.StatusOK, "")
		if len(b.commands) != 1 || b.commands[0].Fresh != want {
			t.Errorf("%s: %+v", session, b.commands)
		}
	}
}
