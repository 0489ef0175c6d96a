package httpapi_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap/zapcore"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/gateway/internal/httpapi"
	"github.com/sandbar-io/sandbar/services/gateway/internal/registry"
	"github.com/sandbar-io/sandbar/services/gateway/internal/warm"
)

func TestAuthentication(t *testing.T) {
	t.Parallel()
	b := newBench(t, httpapi.Options{})
	b.put(newView("tenant-a", "s", runtimeA), sandbox.StatusRunning)
	for _, target := range []string{
		"POST /start", "POST /stop", "POST /pause", "POST /resume", "GET /list", "GET /runtime/" + runtimeA, "GET /sessions/s",
		"GET /sessions/batch", "GET /registry_prefix", "GET /image_exists", "POST /build", "GET /build_status", "GET /api/warm-runtime-configs",
	} {
		method, path, _ := strings.Cut(target, " ")
		for name, header := range map[string][]string{
			"none": {"X-API-Key", ""}, "wrong": {"X-API-Key", "key-c"}, "the session's": {"X-API-Key", "session-key-s"},
			"in another header": {"X-API-Key", "", "X-Session-API-Key", "key-a", "Authorization", "Bearer key-a"},
		} {
			if a := b.do(method, path, "{}", header...); a.Code != http.StatusUnauthorized {
				t.Errorf("%s with %s: %d", target, name, a.Code)
			}
		}
	}
	for _, path := range []string{"/health", "/liveness", "/readiness", "/metrics"} {
		if a := b.get(path, "X-API-Key", ""); a.Code != http.StatusOK {
			t.Errorf("%s: %d", path, a.Code)
		}
	}
	b.get("/sessions/s", "X-Session-API-Key", "stale").want(t, http.StatusOK, "")
}

func TestOtherPathsAndMethods(t *testing.T) {
	t.Parallel()
	b := newBench(t, httpapi.Options{})
	for target, want := range map[string]string{
		"GET /":                               "404 not_found",
		"GET /nothing":                        "404 not_found",
		"GET /sessions/":                      "404 not_found",
		"GET /sessions/a/b":                   "404 not_found",
		"GET //list":                          "404 not_found",
		"GET /start":                          "405 method_not_allowed POST",
		"PUT /start":                          "405 method_not_allowed POST",
		"POST /list":                          "405 method_not_allowed GET, HEAD",
		"DELETE /sessions/s":                  "405 method_not_allowed GET, HEAD",
		"POST /sessions/batch":                "405 method_not_allowed GET, HEAD",
		"POST /metrics":                       "405 method_not_allowed",
		"POST /build":                         "501 not_supported",
		"GET /build_status":                   "501 not_supported",
		"GET /api/admin/challenge":            "403 forbidden",
		"POST /api/admin/login":               "403 forbidden",
		"GET /api/admin/api-keys":             "403 forbidden",
		"PUT /api/admin/warm-runtime-configs": "403 forbidden",
		"PATCH /api/admin/x%2Fy//z":           "403 forbidden",
		"OPTIONS /api/admin":                  "403 forbidden",
		"DELETE /api/admin/":                  "403 forbidden",
		"GET /api/administrator":              "404 not_found",
		"POST /api/warm-runtime-configs":      "405 method_not_allowed GET, HEAD",
		"HEAD /list":                          "200",
	} {
		method, path, _ := strings.Cut(target, " ")
		a := b.do(method, path, "")
		got := fmt.Sprintf("%d %s %s", a.Code, nonNil(a.object["error"]), a.Header().Get("Allow"))
		if strings.TrimSpace(got) != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
}

func nonNil(v any) any {
	if v == nil {
		return ""
	}
	return v
}

func TestSmallEndpoints(t *testing.T) {
	t.Parallel()
	b := newBench(t, httpapi.Options{RegistryPrefix: "r.example/p"})
	b.image = &registry.Image{UploadTime: "2026-01-02T03:04:05Z", Size: 7}
	for target, want := range map[string]string{
		"/registry_prefix":          `{"registry_prefix":"r.example/p"}`,
		"/api/warm-runtime-configs": `{"configs":[]}`,
		"/health":                   `{"status":"ok"}`,
		"/liveness":                 `{"status":"ok"}`,
		"/image_exists?image=a:1":   `{"exists":true,"image":{"upload_time":"2026-01-02T03:04:05Z","image_size_bytes":7}}`,
	} {
		if a := b.get(target); a.Code != http.StatusOK || a.Body.String() != want+"\n" {
			t.Errorf("%s: %d %s", target, a.Code, a.Body)
		}
	}
	b.warm = []warm.Config{{Name: "a", Image: "i:1", Environment: map[string]string{"A": "<b>"}, WorkingDir: "/w", Source: "file"}}
	if a := b.get("/api/warm-runtime-configs"); a.Body.String() !=
		`{"configs":[{"name":"a","image":"i:1","command":null,"environment":{"A":"<b>"},"working_dir":"/w","source":"file"}]}`+"\n" {
		t.Errorf("warm configs: %d %s", a.Code, a.Body)
	}
	b.image = nil
	if a := b.get("/image_exists?image=a:1"); a.Body.String() != `{"exists":false}`+"\n" {
		t.Errorf("absent: %d %s", a.Code, a.Body)
	}
	b.get("/image_exists").want(t, http.StatusBadRequest, "image")
	b.imageErr = unsure
	b.get("/image_exists?image=a:1").want(t, http.StatusServiceUnavailable, "unsure")
	if a := b.get("/metrics"); !strings.Contains(a.Body.String(), `sandbar_gateway_requests_total{endpoint="image_exists",method="GET",status="503"} 1`) {
		t.Errorf("metrics: %s", a.Body)
	}
}

// The admin API is off for everyone alike: no key is asked for, and a wrong one
// is not told.
func TestAdminIsOff(t *testing.T) {
	t.Parallel()
	b := newBench(t, httpapi.Options{})
	for _, header := range [][]string{{"X-API-Key", ""}, {"X-API-Key", "wrong"}, {"X-API-Key", "key-a"}, {"X-API-Key", "", "Authorization", "Bearer x"}} {
		for _, target := range []string{
			"GET /api/admin/challenge", "POST /api/admin/login", "GET /api/admin/api-keys",
			"PUT /api/admin/warm-runtime-configs/a", "DELETE /api/admin/warm-runtime-configs/a",
		} {
			method, path, _ := strings.Cut(target, " ")
			b.do(method, path, `{"challenge":"c","hash":"h"}`, header...).want(t, http.StatusForbidden, "admin API is off")
		}
	}
}

// A client sends all of its context before it reads the answer, so that the
// context is read, whatever it is.
func TestBuildReadsItsBody(t *testing.T) {
	t.Parallel()
	b := newBench(t, httpapi.Options{})
	for name, body := range map[string]*strings.Reader{
		"small": strings.NewReader("--b\r\nbroken"), "large": strings.NewReader(strings.Repeat("x", 4<<20)), "none": strings.NewReader(""),
	} {
		r := httptest.NewRequest(http.MethodPost, "/build", body)
		r.Header.Set("X-API-Key", "key-a")
		r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
		a := answer{ResponseRecorder: httptest.NewRecorder()}
		b.ServeHTTP(a, r)
		if a.Code != http.StatusNotImplemented || body.Len() != 0 || !strings.Contains(a.Body.String(), `"detail":"`) {
			t.Errorf("%s: %d %s, %d bytes not read", name, a.Code, a.Body, body.Len())
		}
	}
	r := httptest.NewRequest(http.MethodPost, "/build", endless{})
	r.Header.Set("X-API-Key", "key-a")
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	if w.Code != http.StatusNotImplemented {
		t.Errorf("endless: %d", w.Code)
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	b := newBench(t, httpapi.Options{})
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for sent, kept := range map[string]bool{"client-id.1": true, "": false, "with space": false, strings.Repeat("x", 65): false, "new\tline": false} {
		b.commands, b.origins = nil, nil
		a := b.post("/start", `{"image":"i","session_id":"s"}`, httpapi.HeaderRequestID, sent, "traceparent", trace)
		got := a.Header().Get(httpapi.HeaderRequestID)
		if (got == sent) != kept || got == "" || got != b.origins[0].RequestID || b.origins[0].Trace != trace {
			t.Errorf("sent %q, answered %q, passed on %+v", sent, got, b.origins)
		}
	}
	b.post("/start", `{"image":"i","session_id":"s"}`, "traceparent", "nonsense")
	if got := b.origins[len(b.origins)-1].Trace; got != "" {
		t.Errorf("passed on %q", got)
	}
}

func TestPanic(t *testing.T) {
	t.Parallel()
	b := newBench(t, httpapi.Options{})
	b.answer = func(sandbox.Command) (*sandbox.View, error) { panic("inner secret") }
	b.post("/start", `{"image":"i","session_id":"s"}`).want(t, http.StatusInternalServerError, "internal error")
	b.answer = func(sandbox.Command) (*sandbox.View, error) { return nil, errors.New("inner secret") }
	a := b.post("/start", `{"image":"i","session_id":"s"}`)
	a.want(t, http.StatusInternalServerError, "internal error")
	if strings.Contains(a.Body.String(), "inner") {
		t.Errorf("the inside is told: %s", a.Body)
	}
	if n := b.logs.FilterLevelExact(zapcore.ErrorLevel).Len(); n != 2 {
		t.Errorf("%d errors were logged", n)
	}
}

// One line of Info for each request that changes something, none for reads; and
// no key or value in any line.
func TestLogs(t *testing.T) {
	t.Parallel()
	b := newBench(t, httpapi.Options{})
	b.put(newView("tenant-a", "s", runtimeA), sandbox.StatusRunning)
	b.post("/start", `{"image":"i","session_id":"s","environment":{"TOKEN":"env-value"}}`)
	b.post("/start", `{"image":"i","session_id":"s","environment":{"TOKEN":["env-value"]}}`)
	b.post("/start", `{"image":"i","session_id":"s","environment":{"TOKEN":"env-value"`)
	b.post("/pause", `{"runtime_id":"`+runtimeA+`"}`)
	b.get("/list")
	b.get("/sessions/s", "X-API-Key", "wrong-key")
	if n := b.logs.FilterLevelExact(zapcore.InfoLevel).Len(); n != 4 {
		t.Errorf("%d lines of Info", n)
	}
	for _, line := range b.logs.All() {
		text := fmt.Sprint(line.Message, line.ContextMap())
		for _, secret := range []string{"env-value", "key-a", "wrong-key", "session-key-s"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s is logged: %s", secret, text)
			}
		}
	}
	first := b.logs.FilterLevelExact(zapcore.InfoLevel).All()[0].ContextMap()
	for _, field := range []string{"request_id", "tenant", "session_id", "runtime_id", "verb", "status", "took", "key_name"} {
		if _, ok := first[field]; !ok {
			t.Errorf("%s is not logged: %v", field, first)
		}
	}
}

// A body without an end is cut off at its limit, whatever its length says.
func TestEndlessBody(t *testing.T) {
	t.Parallel()
	b := newBench(t, httpapi.Options{})
	r := httptest.NewRequest(http.MethodPost, "/start", endless{})
	r.Header.Set("X-API-Key", "key-a")
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("answered %d", w.Code)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
