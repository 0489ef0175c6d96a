package cluster_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sandbar-io/sandbar/pkg/obs"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/cluster"
)

// One request id goes from HTTP through the bus to the writes in Kubernetes; a
// read is not told, and a body never is.
func TestLogWrites(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }))
	defer srv.Close()
	core, logs := observer.New(zap.InfoLevel)
	client := &http.Client{Transport: cluster.LogWrites(zap.New(core))(http.DefaultTransport)}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		r, err := http.NewRequestWithContext(obs.WithRequest(t.Context(), "req-1"), method, srv.URL+"/api/v1/pods", strings.NewReader("secret"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	got := logs.AllUntimed()
	if len(got) != 1 {
		t.Fatalf("%d lines, want the write alone", len(got))
	}
	fields := got[0].ContextMap()
	if fields["request_id"] != "req-1" || fields["method"] != "POST" || fields["path"] != "/api/v1/pods" || fields["status"] != int64(201) {
		t.Errorf("%v", fields)
	}
	for k, v := range fields {
		if v == "secret" {
			t.Errorf("%s holds the body", k)
		}
	}
}
