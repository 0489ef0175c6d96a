package cluster_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	gateways "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"

	"github.com/sandbar-io/sandbar/pkg/settings"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/cluster"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/objects"
)

// All that a sandbox can have in each mode is found by name, and what is not there is not
// missed. No control plane of the tests has the kinds of the Gateway API but the one with
// a controller, so this one is made up.
func TestObjectsByName(t *testing.T) {
	t.Parallel()
	const id = "qwertyuiopasdfgh"
	for name, tt := range map[string]struct {
		mode   string
		absent string // of what is asked for
		want   []string
	}{
		"router":      {settings.ByRouter, "", []string{"PersistentVolumeClaim " + id}},
		"ingress":     {settings.ByIngress, "", []string{"Ingress " + id, "PersistentVolumeClaim " + id, "Service " + id}},
		"no volume":   {settings.ByIngress, "persistentvolumeclaims", []string{"Ingress " + id, "Service " + id}},
		"no Ingress":  {settings.ByIngress, "ingresses", []string{"PersistentVolumeClaim " + id, "Service " + id}},
		"gateway-api": {settings.ByGatewayAPI, "", []string{"HTTPRoute " + id, "HTTPRoute " + id + "-vscode", "HTTPRoute " + id + "-work-1", "HTTPRoute " + id + "-work-2", "PersistentVolumeClaim " + id, "Service " + id}},
		"no routes":   {settings.ByGatewayAPI, "httproutes", []string{"PersistentVolumeClaim " + id, "Service " + id}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if tt.absent != "" && strings.Contains(r.URL.Path, "/"+tt.absent+"/") {
					w.WriteHeader(http.StatusNotFound)
					_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`))
					return
				}
				parts := strings.Split(r.URL.Path, "/")
				_ = json.NewEncoder(w).Encode(map[string]any{"metadata": map[string]any{
					"name": parts[len(parts)-1], "uid": "u", "labels": map[string]string{"sandbar.io/runtime-id": id},
				}})
			}))
			t.Cleanup(srv.Close)
			own := &http.Transport{} // the shared one is closed by each test's server
			t.Cleanup(own.CloseIdleConnections)
			config := &rest.Config{Host: srv.URL, QPS: -1, Transport: own}
			client, err := kubernetes.NewForConfig(config)
			if err != nil {
				t.Fatal(err)
			}
			routes, err := gateways.NewForConfig(config)
			if err != nil {
				t.Fatal(err)
			}
			all, err := cluster.New(client, routes, objects.Config{Namespace: "ns", RoutingMode: tt.mode}).ObjectsOf(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, o := range all {
				got = append(got, o.Kind+" "+o.Name)
				if o.UID != "u" || o.RuntimeID != id || o.Volume != (o.Kind == "PersistentVolumeClaim") {
					t.Errorf("%+v", o)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, tt.want) {
				t.Errorf("found %q, want %q", got, tt.want)
			}
		})
	}
}
