// Package cluster is the provisioner's way to the Kubernetes API: records as
// Secrets with compare-and-swap, and the objects of sandboxes.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	gateways "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"

	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/objects"
)

// Errors that say what a caller does next. ErrMoved: read the record again.
// ErrEnding: an object of the wanted name is still being deleted; wait.
var (
	ErrMoved  = errors.New("the record moved")
	ErrEnding = errors.New("an object of that name is still ending")
)

// Cluster reads and writes one namespace.
type Cluster struct {
	client   kubernetes.Interface
	gateways gateways.Interface
	ns       string
	objects  objects.Config

	podLooks    looks[sandbox.Pod]
	objectLooks looks[sandbox.Object]
}

// New returns a cluster. The client of the Gateway API may be nil where sandboxes
// have no HTTPRoutes.
func New(client kubernetes.Interface, gw gateways.Interface, cfg objects.Config) *Cluster {
	c := &Cluster{client: client, gateways: gw, ns: cfg.Namespace, objects: cfg}
	c.podLooks.list, c.objectLooks.list = c.listPods, c.listObjects
	return c
}

// Check says why a spec is not run here, or nil.
func (c *Cluster) Check(s *sandbox.Spec) error { return c.objects.Check(s) }

// Record reads a record live, nil if there is none.
func (c *Cluster) Record(ctx context.Context, name string) (*sandbox.Record, error) {
	began := time.Now()
	s, err := c.client.CoreV1().Secrets(c.ns).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fail(err, "get", "secrets")
	}
	return decode(s, began)
}

// decode reads a record that was so at a time.
func decode(s *corev1.Secret, asOf time.Time) (*sandbox.Record, error) {
	r, err := kube.DecodeRecord(s)
	if err != nil {
		return nil, err
	}
	r.AsOf = asOf
	return r, nil
}

// believed is for how long a record is taken for what the API server holds: half of
// AckWait, after which what this process works on is given to another one.
const believed = natsx.AckWait / 2

// stands makes sure that a record is still what the API server holds, and asks if that is
// not known of the last moment: a process that stood still, or waited for a core, goes on
// as if nothing had been. ErrMoved if it is not. It asks once: an API server that takes
// longer than the moment to answer would let nobody through.
func (c *Cluster) stands(ctx context.Context, r *sandbox.Record) error {
	if !aged(r.AsOf) {
		return nil
	}
	live, err := c.Record(ctx, r.Name)
	if err == nil && (live == nil || live.UID != r.UID || live.ResourceVersion != r.ResourceVersion) {
		err = ErrMoved
	}
	return err
}

// aged reports whether a time is too long ago, by either clock: that of the machine may
// have stood still with it.
func aged(t time.Time) bool {
	return time.Since(t) > believed || time.Now().Round(0).Sub(t.Round(0)) > believed
}

// CreateRecord makes a record. ErrMoved if there is one.
func (c *Cluster) CreateRecord(ctx context.Context, r *sandbox.Record) (*sandbox.Record, error) {
	s, err := kube.EncodeRecord(r)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	s, err = c.client.CoreV1().Secrets(c.ns).Create(ctx, s, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil, ErrMoved
	}
	var busy *Busy
	if err != nil && errors.As(err, &busy) && busy.Undone {
		return nil, fail(err, "create", "secrets") // it has no time to be asked once more either
	}
	if err != nil {
		if _, found := c.client.CoreV1().Secrets(c.ns).Get(ctx, r.Name, metav1.GetOptions{}); found == nil {
			return nil, ErrMoved // a quota that is full is looked at before the name
		}
		return nil, fail(err, "create", "secrets")
	}
	return decode(s, began)
}

// UpdateRecord swaps prev for next. ErrMoved if it is not prev any more.
func (c *Cluster) UpdateRecord(ctx context.Context, prev, next *sandbox.Record) (*sandbox.Record, error) {
	patch, err := kube.EncodeUpdate(prev, next)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	s, err := c.client.CoreV1().Secrets(c.ns).Patch(ctx, prev.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil, ErrMoved
	}
	if err != nil {
		return nil, fail(err, "patch", "secrets")
	}
	return decode(s, began)
}

// DeleteRecord removes a record that is still exactly r.
func (c *Cluster) DeleteRecord(ctx context.Context, r *sandbox.Record) error {
	uid := types.UID(r.UID)
	err := c.client.CoreV1().Secrets(c.ns).Delete(ctx, r.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &r.ResourceVersion},
	})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil // it moved, or is gone: not this purge's
	}
	if err != nil {
		return fail(err, "delete", "secrets")
	}
	return nil
}

// Pod reads a pod live, nil if there is none.
func (c *Cluster) Pod(ctx context.Context, name string) (*sandbox.Pod, error) {
	p, err := c.client.CoreV1().Pods(c.ns).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fail(err, "get", "pods")
	}
	out := kube.PodOf(p)
	return &out, nil
}

// DeletePod deletes exactly this pod; one that is gone is fine.
func (c *Cluster) DeletePod(ctx context.Context, p *sandbox.Pod) error {
	return c.delete(ctx, kindPod, p.Name, p.UID)
}

// DeleteObject deletes exactly this object; one that is gone is fine.
func (c *Cluster) DeleteObject(ctx context.Context, o *sandbox.Object) error {
	return c.delete(ctx, o.Kind, o.Name, o.UID)
}

func (c *Cluster) delete(ctx context.Context, kind, name, id string) error {
	uid := types.UID(id)
	background := metav1.DeletePropagationBackground
	opts := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: &background}
	var err error
	switch kind {
	case kindPod:
		err = c.client.CoreV1().Pods(c.ns).Delete(ctx, name, opts)
	case kube.KindVolume:
		err = c.client.CoreV1().PersistentVolumeClaims(c.ns).Delete(ctx, name, opts)
	case kindService:
		err = c.client.CoreV1().Services(c.ns).Delete(ctx, name, opts)
	case kindIngress:
		err = c.client.NetworkingV1().Ingresses(c.ns).Delete(ctx, name, opts)
	case kindHTTPRoute:
		err = c.gateways.GatewayV1().HTTPRoutes(c.ns).Delete(ctx, name, opts)
	default:
		return fmt.Errorf("delete: unknown kind %q", kind)
	}
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // a conflict: another one has the name now
	}
	return fail(err, "delete", kind)
}

// fail turns what the API server says into what a caller may be told. What is
// not certain stays a plain error: it is tried again.
func fail(err error, verb, what string) error {
	err = fmt.Errorf("%s %s: %w", verb, what, err)
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return err
	}
	s := status.Status()
	switch {
	case s.Code == http.StatusForbidden && strings.Contains(s.Message, "exceeded quota"):
		return sandbox.Wrap(err, sandbox.CodeQuota, "%s", quotaText(s.Message))
	case s.Code == http.StatusForbidden && admissionRefuses(s.Message), s.Code < http.StatusInternalServerError && denied(s.Message):
		return sandbox.Wrap(err, sandbox.CodeForbidden, "the cluster's policy refuses it: %s", s.Message)
	case s.Code == http.StatusUnprocessableEntity || s.Code == http.StatusBadRequest:
		return sandbox.Wrap(err, sandbox.CodeInvalid, "Kubernetes refuses it: %s", s.Message)
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return sandbox.Wrap(err, sandbox.CodeForbidden, "the namespace of the sandboxes is being deleted, nothing can be made in it")
	case s.Code == http.StatusRequestEntityTooLarge:
		return sandbox.Wrap(err, sandbox.CodeTooLarge, "the request is too large for Kubernetes")
	}
	return err
}

// admissionRefuses tells what can never be from what may be soon: a right that
// is not there yet, a service account, a quota that is not counted yet.
func admissionRefuses(message string) bool {
	for _, words := range []string{"violates PodSecurity", "usage per ", "ratio per ", "pod rejected: RuntimeClass"} {
		if strings.Contains(message, words) {
			return true
		}
	}
	return false
}

// denied tells what a webhook or a ValidatingAdmissionPolicy says no to, with whatever
// code it was told to: a webhook that names none makes a 400.
func denied(message string) bool {
	return strings.Contains(message, "denied the request") || strings.Contains(message, "denied request")
}

// quotaText is what follows the object's name: "exceeded quota: …".
func quotaText(s string) string {
	if i := strings.Index(s, "exceeded quota"); i >= 0 {
		return s[i:]
	}
	return s
}

// Permanent reports whether trying again cannot help.
func Permanent(err error) bool {
	switch sandbox.CodeOf(err) {
	case sandbox.CodeQuota, sandbox.CodeInvalid, sandbox.CodeForbidden, sandbox.CodeTooLarge:
		return true
	}
	return false
}
