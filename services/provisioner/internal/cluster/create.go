package cluster

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sandbar-io/sandbar/pkg/failpoint"
	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/settings"
)

// Look says whether a create asks first if the object is there.
type Look bool

// A quota counts a create of what is there already, and counts it until its next
// full recount: so a create looks first, unless the name is Unseen, because the
// caller has just given it.
const (
	LookFirst Look = true
	Unseen    Look = false
)

// ours reports whether an object that is there already is this record's, so that
// creating it again succeeded.
func ours(m metav1.Object, r *sandbox.Record) error {
	if m.GetDeletionTimestamp() != nil || m.GetLabels()[kube.LabelRecordUID] != r.UID {
		return ErrEnding // another record's goes with the collector
	}
	return nil
}

// CreateVolume makes the workspace, where there is one.
func (c *Cluster) CreateVolume(ctx context.Context, r *sandbox.Record, look Look) error {
	pvc := c.objects.Volume(r)
	if pvc == nil {
		return nil
	}
	api := c.client.CoreV1().PersistentVolumeClaims(c.ns)
	return create(r, look, "persistentvolumeclaims", pvc.Name,
		func() (metav1.Object, error) { return api.Create(ctx, pvc, metav1.CreateOptions{}) },
		func() (metav1.Object, error) { return api.Get(ctx, pvc.Name, metav1.GetOptions{}) }, nil)
}

// CreatePod makes the pod of the incarnation and returns it as it is. ErrMoved: it is
// not made, for the record may want another by now. Kubernetes cannot be told to make it
// only if that is not so, and two sandboxes of a session share no volume: nothing else
// would keep both pods from running for the moment until Follow deletes the older.
func (c *Cluster) CreatePod(ctx context.Context, r *sandbox.Record, look Look) (*sandbox.Pod, error) {
	pod, err := c.objects.Pod(r)
	if err != nil {
		return nil, err
	}
	api := c.client.CoreV1().Pods(c.ns)
	var out sandbox.Pod
	err = create(r, look, "pods", pod.Name,
		func() (metav1.Object, error) {
			if err := c.stands(ctx, r); err != nil {
				return nil, err
			}
			return api.Create(ctx, pod, metav1.CreateOptions{})
		},
		func() (metav1.Object, error) { return api.Get(ctx, pod.Name, metav1.GetOptions{}) },
		func(o metav1.Object) { out = kube.PodOf(o.(*corev1.Pod)) })
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// CreateRoute makes a Service and what leads to it, where each sandbox has its
// own.
func (c *Cluster) CreateRoute(ctx context.Context, r *sandbox.Record, look Look) error {
	if c.objects.RoutingMode == settings.ByRouter {
		return nil
	}
	svc, svcs := c.objects.Service(r), c.client.CoreV1().Services(c.ns)
	err := create(r, look, "services", svc.Name,
		func() (metav1.Object, error) { return svcs.Create(ctx, svc, metav1.CreateOptions{}) },
		func() (metav1.Object, error) { return svcs.Get(ctx, svc.Name, metav1.GetOptions{}) }, nil)
	if err = failpoint.After(ctx, "provisioner/after-service", err); err != nil {
		return err
	}
	if c.objects.RoutingMode == settings.ByGatewayAPI {
		return c.createHTTPRoutes(ctx, r, look)
	}
	ing, ings := c.objects.Ingress(r), c.client.NetworkingV1().Ingresses(c.ns)
	err = create(r, look, "ingresses", ing.Name,
		func() (metav1.Object, error) { return ings.Create(ctx, ing, metav1.CreateOptions{}) },
		func() (metav1.Object, error) { return ings.Get(ctx, ing.Name, metav1.GetOptions{}) }, nil)
	return failpoint.After(ctx, "provisioner/after-route", err)
}

func (c *Cluster) createHTTPRoutes(ctx context.Context, r *sandbox.Record, look Look) error {
	api := c.gateways.GatewayV1().HTTPRoutes(c.ns)
	for _, route := range c.objects.HTTPRoutes(r) {
		err := create(r, look, "httproutes", route.Name,
			func() (metav1.Object, error) { return api.Create(ctx, route, metav1.CreateOptions{}) },
			func() (metav1.Object, error) { return api.Get(ctx, route.Name, metav1.GetOptions{}) }, nil)
		if err = failpoint.After(ctx, "provisioner/after-route", err); err != nil {
			return err
		}
	}
	return nil
}

// create makes an object; one that is there and ours is as good. The name says
// which it must be: a create whose answer was lost is found this way.
func create(r *sandbox.Record, look Look, what, name string, make, get func() (metav1.Object, error), seen func(metav1.Object)) error {
	var o metav1.Object
	var err error
	if look == LookFirst {
		o, err = get()
	}
	if look == Unseen || apierrors.IsNotFound(err) {
		o, err = make()
		// Another may have made it since; a quota that it filled refuses before
		// the name does.
		if exists := apierrors.IsAlreadyExists(err); exists || err != nil && Permanent(fail(err, "create", what)) {
			refusal := err
			if o, err = get(); apierrors.IsNotFound(err) {
				if err = refusal; exists {
					err = ErrEnding
				}
			}
		}
	}
	if err == nil {
		err = ours(o, r)
	}
	if errors.Is(err, ErrEnding) {
		return fmt.Errorf("%s %s: %w", what, name, err)
	}
	if err != nil {
		return fail(err, "create", what)
	}
	if seen != nil {
		seen(o)
	}
	return nil
}
