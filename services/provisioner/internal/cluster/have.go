package cluster

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/settings"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/objects"
)

const (
	kindPod       = "Pod"
	kindService   = "Service"
	kindIngress   = "Ingress"
	kindHTTPRoute = "HTTPRoute"
)

// Pods lists the pods of a record, and the order of the list.
func (c *Cluster) Pods(ctx context.Context, record string) ([]sandbox.Pod, uint64, error) {
	return c.podLooks.of(ctx, record)
}

// Objects lists all else that a record has. It waits for the API server's cache, as
// Pods does, and costs a look at all that the namespace has.
func (c *Cluster) Objects(ctx context.Context, record string) ([]sandbox.Object, error) {
	all, _, err := c.objectLooks.of(ctx, record)
	return all, err
}

// ObjectsOf reads all that has the name of a runtime id, but for pods.
func (c *Cluster) ObjectsOf(ctx context.Context, runtimeID string) ([]sandbox.Object, error) {
	var out []sandbox.Object
	get := metav1.GetOptions{}
	add := func(m metav1.Object, err error, kind, what string) error {
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return fail(err, "get", what)
		}
		out = append(out, kube.ObjectOf(m, kind))
		return nil
	}
	volume, err := c.client.CoreV1().PersistentVolumeClaims(c.ns).Get(ctx, runtimeID, get)
	if err := add(volume, err, kube.KindVolume, "persistentvolumeclaims"); err != nil {
		return nil, err
	}
	if c.objects.RoutingMode == settings.ByRouter {
		return out, nil
	}
	svc, err := c.client.CoreV1().Services(c.ns).Get(ctx, runtimeID, get)
	if err := add(svc, err, kindService, "services"); err != nil {
		return nil, err
	}
	if c.objects.RoutingMode != settings.ByGatewayAPI {
		ing, err := c.client.NetworkingV1().Ingresses(c.ns).Get(ctx, runtimeID, get)
		err = add(ing, err, kindIngress, "ingresses")
		return out, err
	}
	for _, name := range objects.HTTPRouteNames(runtimeID) {
		route, err := c.gateways.GatewayV1().HTTPRoutes(c.ns).Get(ctx, name, get)
		if err := add(route, err, kindHTTPRoute, "httproutes"); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (c *Cluster) listPods(ctx context.Context, records []string) (map[string][]sandbox.Pod, uint64, error) {
	list, err := c.client.CoreV1().Pods(c.ns).List(ctx, metav1.ListOptions{LabelSelector: kube.SelectorOf(records...)})
	if err != nil {
		return nil, 0, fail(err, "list", "pods")
	}
	out := map[string][]sandbox.Pod{}
	for i := range list.Items {
		p := kube.PodOf(&list.Items[i])
		out[p.Record] = append(out[p.Record], p)
	}
	return out, kube.Order(list.ResourceVersion), nil
}

// listObjects lists volumes, and with a route mode Services and what leads to them. Of
// several lists there is no one order.
func (c *Cluster) listObjects(ctx context.Context, records []string) (map[string][]sandbox.Object, uint64, error) {
	opts := metav1.ListOptions{LabelSelector: kube.SelectorOf(records...)}
	out := map[string][]sandbox.Object{}
	add := func(m metav1.Object, kind string) {
		out[kube.RecordOf(m)] = append(out[kube.RecordOf(m)], kube.ObjectOf(m, kind))
	}
	volumes, err := c.client.CoreV1().PersistentVolumeClaims(c.ns).List(ctx, opts)
	if err != nil {
		return nil, 0, fail(err, "list", "persistentvolumeclaims")
	}
	for i := range volumes.Items {
		add(&volumes.Items[i], kube.KindVolume)
	}
	if c.objects.RoutingMode == settings.ByRouter {
		return out, 0, nil
	}
	svcs, err := c.client.CoreV1().Services(c.ns).List(ctx, opts)
	if err != nil {
		return nil, 0, fail(err, "list", "services")
	}
	for i := range svcs.Items {
		add(&svcs.Items[i], kindService)
	}
	if c.objects.RoutingMode == settings.ByGatewayAPI {
		list, err := c.gateways.GatewayV1().HTTPRoutes(c.ns).List(ctx, opts)
		if err != nil {
			return nil, 0, fail(err, "list", "httproutes")
		}
		for i := range list.Items {
			add(&list.Items[i], kindHTTPRoute)
		}
		return out, 0, nil
	}
	ings, err := c.client.NetworkingV1().Ingresses(c.ns).List(ctx, opts)
	if err != nil {
		return nil, 0, fail(err, "list", "ingresses")
	}
	for i := range ings.Items {
		add(&ings.Items[i], kindIngress)
	}
	return out, 0, nil
}
