package client_test

import (
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

// TestPatient: what could not be confirmed is asked again, as it was; all other
// refusals are answers.
func TestPatient(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method, refusal string
		asked           int64
		status          int
	}{
		"a read":          {http.MethodGet, "the state of sandboxes cannot be confirmed now, try again", 3, 200},
		"a change":        {http.MethodPost, "the state of sandboxes cannot be confirmed now, try again", 3, 200},
		"another refusal": {http.MethodPost, "too many requests are under way", 1, 503},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked, again atomic.Int64
			h, port := server(t, func(w http.ResponseWriter, r *http.Request) {
				if body, err := io.ReadAll(r.Body); r.Method == http.MethodPost && (err != nil || string(body) != `{"a":1}`) {
					t.Errorf("asked with %q, %v", body, err)
				}
				w.Header().Set("Content-Type", "application/json")
				if asked.Add(1) < 3 {
					w.WriteHeader(http.StatusServiceUnavailable)
				}
				fmt.Fprintf(w, `{"detail":%q}`, c.refusal)
			})
			h.Transport = client.Patient{Next: h.Transport, Again: &again}
			request := client.Request{Method: c.method}
			if c.method == http.MethodPost {
				request.Body = map[string]int{"a": 1}
			}
			answer, err := client.Caller{Base: "http://sandbar.localhost:" + port, HTTP: h}.Do(t.Context(), request)
			if err != nil || answer.Status != c.status || asked.Load() != c.asked || again.Load() != c.asked-1 {
				t.Errorf("%s, %v, asked %d times", answer, err, asked.Load())
			}
			if want := fmt.Sprintf(`{"detail":%q}`, c.refusal); string(answer.Body) != want {
				t.Errorf("%s, want %s", answer.Body, want)
			}
		})
	}
}
