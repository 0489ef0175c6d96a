package objects_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/sandbar-io/sandbar/services/provisioner/internal/objects"
)

func TestHTTPRoutes(t *testing.T) {
	t.Parallel()
	whole := every()
	whole.Gateway = objects.Gateway{Name: "shared", Namespace: "edge", Section: "https"}
	least := plain()
	least.Gateway = objects.Gateway{Name: "shared"}
	for name, c := range map[string]objects.Config{"http-routes": whole, "http-routes-least": least} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := recordOf(c, minimal())
			var objs []runtime.Object
			var names []string
			for _, route := range c.HTTPRoutes(r) {
				route.TypeMeta = metav1.TypeMeta{APIVersion: "gateway.networking.k8s.io/v1", Kind: "HTTPRoute"}
				if owner := metav1.GetControllerOf(route); owner == nil || string(owner.UID) != r.UID || route.Labels["sandbar.io/record"] != r.Name {
					t.Errorf("%s is owned by %+v, with %v", route.Name, owner, route.Labels)
				}
				objs, names = append(objs, route), append(names, route.Name)
			}
			if told := objects.HTTPRouteNames(r.RuntimeID); !slices.Equal(told, names) {
				t.Errorf("they are named %q, and made as %q", told, names)
			}
			got := encode(t, objs)
			path := filepath.Join("testdata", name+".yaml")
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("%s differs; go test ./internal/objects -update writes it anew:\n%s", path, got)
			}
			decodes(t, want, objs)
		})
	}
}
