package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

// server answers with what arrived, and gives an HTTP client whose names under
// sandbar.localhost lead to it.
func server(t *testing.T, handler http.HandlerFunc) (h *http.Client, port string) {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	h, err := client.NewHTTP("sandbar.localhost", s.URL)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return h, u.Port()
}

func tell(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Location", "/elsewhere")
	w.WriteHeader(http.StatusFound)
	_ = json.NewEncoder(w).Encode([]string{
		r.Method, r.Host, r.RequestURI, r.Header.Get("X-API-Key"), r.Header.Get("Content-Type"), string(body),
	})
}

func TestDo(t *testing.T) {
	t.Parallel()
	h, port := server(t, tell)
	caller := client.Caller{Base: "http://a.b.sandbar.localhost:" + port, HTTP: h, Header: http.Header{"x-api-key": {"k"}}}
	host := "a.b.sandbar.localhost:" + port
	for name, test := range map[string]struct {
		request client.Request
		want    []string
	}{
		"plain":      {client.Request{Path: "/x"}, []string{"GET", host, "/x", "k", "", ""}},
		"raw path":   {client.Request{Path: "//a%2Fb/?q=%20"}, []string{"GET", host, "//a%2Fb/?q=%20", "k", "", ""}},
		"JSON":       {client.Request{Method: "POST", Body: map[string]int{"a": 1}}, []string{"POST", host, "/", "k", "application/json", `{"a":1}`}},
		"bytes":      {client.Request{Method: "POST", Body: []byte("{")}, []string{"POST", host, "/", "k", "application/json", "{"}},
		"bare":       {client.Request{Bare: true}, []string{"GET", host, "/", "", "", ""}},
		"other key":  {client.Request{Header: http.Header{"X-API-Key": {"j"}}}, []string{"GET", host, "/", "j", "", ""}},
		"other host": {client.Request{Host: "example.com"}, []string{"GET", "example.com", "/", "k", "", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer, err := caller.Do(t.Context(), test.request)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			if err := answer.Decode(&got); err != nil {
				t.Fatal(err)
			}
			if answer.Status != http.StatusFound || fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("got %d %q, want 302 %q", answer.Status, got, test.want)
			}
		})
	}
}

func TestNewHTTPWantsAHost(t *testing.T) {
	t.Parallel()
	if _, err := client.NewHTTP("sandbar.localhost", "127.0.0.1"); err == nil {
		t.Error("no error")
	}
}

func TestProblem(t *testing.T) {
	t.Parallel()
	answer := func(kind, body string) client.Answer {
		return client.Answer{Status: 404, Header: http.Header{"Content-Type": {kind}}, Body: []byte(body)}
	}
	good := answer("application/json; charset=utf-8", `{"detail":"no such session","error":"not_found"}`)
	if err := good.Problem(409, 404); err != nil {
		t.Error(err)
	}
	for _, bad := range []client.Answer{
		answer("text/plain", `{"detail":"d","error":"e"}`),
		answer("application/json", `404 page not found`),
		answer("application/json", `["d"]`),
		answer("application/json", `null`),
		answer("application/json", `{"detail":"d"}`),
		answer("application/json", `{"detail":{"code":"c"},"error":"e"}`),
		answer("application/json", `{"detail":"","error":"e"}`),
	} {
		if bad.Problem(404) == nil {
			t.Errorf("%s is taken for good", bad)
		}
	}
	if good.Problem(409) == nil {
		t.Error("another status is taken for good")
	}
}

func TestAPI(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"POST /start":             goodRuntime,
		"POST /pause":             strings.NewReplacer(`"running"`, `"paused"`, `"ready"`, `"not found"`).Replace(goodRuntime),
		"GET /sessions/S.1":       goodRuntime,
		"GET /sessions/other":     goodRuntime, // the wrong one
		"GET /list":               `{"runtimes":[` + goodRuntime + `,` + goodRuntime + `],"total":2}`,
		"GET /sessions/batch?ids": `[` + goodRuntime + `,null]`,
	}
	h, port := server(t, func(w http.ResponseWriter, r *http.Request) {
		uri, _, _ := strings.Cut(r.RequestURI, "=")
		if body, ok := answers[r.Method+" "+uri]; ok && r.Header.Get("X-API-Key") == "k" {
			_, _ = io.WriteString(w, body)
			return
		}
		http.Error(w, "not JSON", http.StatusNotFound)
	})
	api, ctx := client.NewAPI(h, "http://127.0.0.1:"+port, "k"), t.Context()
	if r, err := api.Start(ctx, map[string]any{"session_id": "S.1"}); err != nil || r.Status != "running" {
		t.Errorf("start: %+v, %v", r, err)
	}
	if _, err := api.Start(ctx, map[string]any{"session_id": "s.1"}); err == nil {
		t.Error("start: another session is taken for ours")
	}
	if r, err := api.Pause(ctx, "agondegmivxspeyw"); err != nil || r.Status != "paused" {
		t.Errorf("pause: %+v, %v", r, err)
	}
	if _, err := api.Session(ctx, "other"); err == nil {
		t.Error("session: another session is taken for ours")
	}
	if _, err := api.List(ctx); err == nil {
		t.Error("list: a session that is there twice is taken for good")
	}
	if all, err := api.Batch(ctx, "S.1", "b"); err != nil || all[0] == nil || all[1] != nil {
		t.Errorf("batch: %v, %v", all, err)
	}
	if _, err := api.Batch(ctx, "S.1"); err == nil {
		t.Error("batch: another length is taken for good")
	}
	err := api.Stop(ctx, "agondegmivxspeyw")
	if client.StatusOf(err) != http.StatusNotFound || !strings.Contains(err.Error(), "application/json") {
		t.Errorf("stop: %v, want a 404 whose body is complained of", err)
	}
	if client.StatusOf(errors.New("no answer")) != 0 || client.StatusOf(nil) != 0 {
		t.Error("an error without an answer has a status")
	}
}
