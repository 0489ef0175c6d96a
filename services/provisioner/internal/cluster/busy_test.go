package cluster_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/cluster"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/objects"
)

// api answers all that is asked of it in one way, and keeps what was asked.
type api struct {
	status int
	after  string // Retry-After
	body   string

	mu    sync.Mutex
	asked []string
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.asked = append(a.asked, r.Method+" "+r.URL.Path)
	a.mu.Unlock()
	if a.after != "" {
		w.Header().Set("Retry-After", a.after)
	}
	w.WriteHeader(a.status)
	_, _ = w.Write([]byte(a.body))
}

func (a *api) cluster(t *testing.T) *cluster.Cluster {
	t.Helper()
	srv := httptest.NewServer(a)
	t.Cleanup(srv.Close)
	own := &http.Transport{} // the shared one is closed by each test's server
	t.Cleanup(own.CloseIdleConnections)
	cfg := &rest.Config{Host: srv.URL, QPS: -1, Transport: own}
	cfg.Wrap(cluster.TellBusy)
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return cluster.New(client, nil, objects.Config{Namespace: "ns"})
}

// calls are those that may come before anything is written.
var calls = map[string]func(context.Context, *cluster.Cluster) error{
	"GET /api/v1/namespaces/ns/secrets/" + record: func(ctx context.Context, c *cluster.Cluster) error {
		_, err := c.Record(ctx, record)
		return err
	},
	"GET /api/v1/namespaces/ns/pods/p": func(ctx context.Context, c *cluster.Cluster) error {
		_, err := c.Pod(ctx, "p")
		return err
	},
	"POST /api/v1/namespaces/ns/secrets": func(ctx context.Context, c *cluster.Cluster) error {
		_, err := c.CreateRecord(ctx, &sandbox.Record{Name: record, Tenant: "t", SessionID: "s"})
		return err
	},
	"PATCH /api/v1/namespaces/ns/secrets/" + record: func(ctx context.Context, c *cluster.Cluster) error {
		r := &sandbox.Record{Name: record, Tenant: "t", SessionID: "s", UID: "u", ResourceVersion: "1"}
		_, err := c.UpdateRecord(ctx, r, r)
		return err
	},
}

var record = sandbox.RecordName("t", "s")

// An API server that has no time is asked once, and its word comes through at
// once: client-go alone would ask eleven times, a second apart.
func TestBusy(t *testing.T) {
	t.Parallel()
	const page = "<html>503 Service Temporarily Unavailable</html>"
	for name, tt := range map[string]struct {
		status int
		says   string // Retry-After
		body   string
		after  time.Duration
		write  bool // of a write it is certain too that it was not done
	}{
		"priority and fairness":       {429, "1", "Too many requests, please try again later.", time.Second, true},
		"it says how long":            {429, "4", "", 4 * time.Second, true},
		"it does not say how long":    {429, "", "", time.Second, true},
		"it says nonsense":            {429, "Wed, 21 Oct 2037 07:28:00 GMT", "", time.Second, true},
		"it says a negative time":     {429, "-3", "", time.Second, true},
		"it says never":               {429, "2147483647", "", 10 * time.Second, true},
		"it is stopping":              {503, "1", "apiserver is shutting down", time.Second, false},
		"a proxy":                     {503, "", page, time.Second, false},
		"a proxy, with a long answer": {503, "", strings.Repeat(page, 1000), time.Second, false},
		"an error that says when":     {500, "2", "", 2 * time.Second, false},
	} {
		for call, do := range calls {
			t.Run(name+", "+call, func(t *testing.T) {
				t.Parallel()
				a := &api{status: tt.status, after: tt.says, body: tt.body}
				c := a.cluster(t)
				begin := time.Now()
				err := do(t.Context(), c)
				if took := time.Since(begin); took >= time.Second {
					t.Errorf("it took %s", took)
				}
				read := strings.HasPrefix(call, "GET")
				var busy *cluster.Busy
				if !errors.As(err, &busy) || busy.After != tt.after || busy.Undone != (read || tt.write) {
					t.Fatalf("%v: %+v", err, busy)
				}
				if cluster.Permanent(err) || errors.Is(err, cluster.ErrMoved) {
					t.Errorf("it is taken for something else: %v", err)
				}
				n := 1
				if strings.HasPrefix(call, "POST") && !tt.write {
					n = 2 // whether it is there
				}
				if len(a.asked) != n || a.asked[0] != call {
					t.Errorf("asked %q", a.asked)
				}
			})
		}
	}
}

// What is no such answer stays what it was.
func TestNotBusy(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusInternalServerError, http.StatusNotFound, http.StatusForbidden, http.StatusGatewayTimeout} {
		a := &api{status: status, body: `{"kind":"Status","apiVersion":"v1","status":"Failure","code":` + http.StatusText(status) + `}`}
		for call, do := range calls {
			err := do(t.Context(), a.cluster(t))
			var busy *cluster.Busy
			if errors.As(err, &busy) {
				t.Errorf("%d to %s: %v", status, call, err)
			}
		}
	}
}
