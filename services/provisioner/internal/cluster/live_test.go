package cluster_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sandbar-io/sandbar/services/provisioner/internal/cluster"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/objects"
)

// What is read is decided on: the API server must ask etcd, and not answer out of
// a cache that may be behind, as it does for a resourceVersion of 0.
func TestReadsAreLive(t *testing.T) {
	t.Parallel()
	for name, read := range map[string]func(context.Context, *cluster.Cluster) error{
		"record": func(ctx context.Context, c *cluster.Cluster) error { _, err := c.Record(ctx, record); return err },
		"pod":    func(ctx context.Context, c *cluster.Cluster) error { _, err := c.Pod(ctx, "p"); return err },
		"pods":   func(ctx context.Context, c *cluster.Cluster) error { _, _, err := c.Pods(ctx, record); return err },
		"objects by name": func(ctx context.Context, c *cluster.Cluster) error {
			_, err := c.ObjectsOf(ctx, "id")
			return err
		},
		"objects": func(ctx context.Context, c *cluster.Cluster) error { _, err := c.Objects(ctx, record); return err },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var asked []string
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				asked = append(asked, r.Method+" "+r.URL.String())
				for _, option := range []string{"resourceVersion", "resourceVersionMatch"} {
					if r.URL.Query().Has(option) {
						t.Errorf("%s may be answered out of a cache", r.URL)
					}
				}
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusNotFound)
				_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`))
			}))
			t.Cleanup(srv.Close)
			own := &http.Transport{} // the shared one is closed by each test's server
			t.Cleanup(own.CloseIdleConnections)
			client, err := kubernetes.NewForConfig(&rest.Config{Host: srv.URL, QPS: -1, Transport: own})
			if err != nil {
				t.Fatal(err)
			}
			err = read(t.Context(), cluster.New(client, nil, objects.Config{Namespace: "ns"}))
			mu.Lock()
			defer mu.Unlock()
			if len(asked) == 0 {
				t.Errorf("nothing was asked: %v", err)
			}
		})
	}
}
