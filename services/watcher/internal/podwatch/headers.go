package podwatch

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"

	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/settings"
)

// kind is one of the kinds that are only listed, never watched.
type kind struct {
	name     string
	resource schema.GroupVersionResource
}

var (
	secretResource = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	podResource    = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	volumes        = kind{kube.KindVolume, schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}}
	services       = kind{"Service", schema.GroupVersionResource{Version: "v1", Resource: "services"}}
	ingresses      = kind{"Ingress", schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "ingresses"}}
	httpRoutes     = kind{"HTTPRoute", schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}}
)

// routes are the kinds of objects that lead to a sandbox, by ROUTING_MODE.
var routes = map[string][]kind{
	settings.ByIngress:    {services, ingresses},
	settings.ByGatewayAPI: {services, httpRoutes},
}

// list reads the metadata of all objects of a kind, most recent, page by page.
func list(ctx context.Context, r metadata.ResourceInterface, selector string, each func(metav1.Object)) (listing, error) {
	opts := metav1.ListOptions{LabelSelector: selector, Limit: pageSize}
	out := listing{objects: map[string]uint64{}}
	for {
		page, err := headers(ctx, r, opts)
		if err != nil {
			return listing{}, err
		}
		for i := range page.Items {
			m := &page.Items[i]
			out.objects[m.Name] = kube.Order(m.ResourceVersion)
			if each != nil {
				each(m)
			}
		}
		out.version = kube.Order(page.ResourceVersion)
		if opts.Continue = page.Continue; opts.Continue == "" {
			return out, nil
		}
	}
}

func headers(ctx context.Context, r metadata.ResourceInterface, opts metav1.ListOptions) (*metav1.PartialObjectMetadataList, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return r.List(ctx, opts)
}

// objects is what the last lists of volumes, Services and routes showed.
type objects struct {
	at       time.Time // before the first of them was asked for
	byRecord map[string][]sandbox.Object
}

// ListObjects lists what belongs to sandboxes beside pods.
func (w *Watch) ListObjects(ctx context.Context) error {
	out := &objects{at: w.now(), byRecord: map[string][]sandbox.Object{}}
	for _, k := range w.kinds {
		_, err := list(ctx, w.meta.Resource(k.resource).Namespace(w.namespace), kube.SandboxSelector, func(m metav1.Object) {
			r := m.GetLabels()[kube.LabelRecord]
			out.byRecord[r] = append(out.byRecord[r], kube.ObjectOf(m, k.name))
		})
		w.cfg.Faults.Request("list "+k.resource.Resource, err)
		if err != nil {
			return fmt.Errorf("list %s: %w", k.resource.Resource, err)
		}
	}
	w.objects.Store(out)
	return nil
}
