//go:build apiserver

package interleave_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/natsx/natstest"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/settings"
	"github.com/sandbar-io/sandbar/pkg/views"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/cluster"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/objects"
)

// world is what the walks share: the API server, the NATS server. Each walk has
// a session of its own in it.
type world struct {
	client kubernetes.Interface
	ns     string
	conn   *natsx.Conn
	sealer *contract.Sealer
	truth  *cluster.Cluster // ungated, for the checks
	store  *views.Store
}

func newWorld(t *testing.T) *world {
	t.Helper()
	path := os.Getenv("SANDBAR_TEST_KUBECONFIG")
	if path == "" {
		t.Fatal("SANDBAR_TEST_KUBECONFIG is not set: run this by make test, or name the kubeconfig of a control plane without nodes")
	}
	rest, err := kube.ClientConfig(path)
	must(t, err)
	client, err := kubernetes.NewForConfig(rest)
	must(t, err)
	ctx := t.Context()
	ns, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "interleave-"}}, metav1.CreateOptions{})
	must(t, err)
	t.Cleanup(func() {
		_ = client.CoreV1().Namespaces().Delete(context.Background(), ns.Name, metav1.DeleteOptions{})
	})
	_, err = client.CoreV1().ServiceAccounts(ns.Name).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	srv := natstest.Start(t, server.Options{JetStreamMaxStore: 64 << 30})
	conn, err := natsx.Connect("interleave", natsx.Config{URL: srv.ClientURL(), Replicas: 1}, zap.NewNop())
	must(t, err)
	t.Cleanup(conn.Close)
	_, err = conn.EnsureCommands(ctx)
	must(t, err)
	must(t, conn.EnsureViews(ctx))
	sealer, err := contract.NewSealer(base64.StdEncoding.EncodeToString(make([]byte, 32)))
	must(t, err)
	w := &world{client: client, ns: ns.Name, conn: conn, sealer: sealer}
	w.truth = cluster.New(client, nil, w.config())
	w.store = views.NewStore(conn.JS, sealer, 0)
	return w
}

func (w *world) config() objects.Config {
	one := resource.MustParse("1")
	return objects.Config{
		Namespace: w.ns, CPURequest: one, CPULimit: one, MemoryRequest: resource.MustParse("1Gi"), MemoryLimit: resource.MustParse("1Gi"),
		WorkspaceSize: resource.MustParse("1Gi"), WorkspacePath: "/workspace", AccessMode: corev1.ReadWriteOncePod,
		TerminationGrace: 10 * time.Second, // 0: no pod would ever be ending
		Capabilities:     objects.ProfileAuto, Ports: sandbox.DefaultPorts,
		RoutingMode: settings.ByRouter, URLs: sandbox.URLPattern{Scheme: "http", BaseDomain: "test.localhost", Separator: "."},
	}
}

// wipe removes the bucket and makes it anew, as a server whose store was lost.
func (w *world) wipe(ctx context.Context) error {
	if err := w.conn.JS.DeleteStream(ctx, contract.ViewStream); err != nil {
		return err
	}
	return natstest.Again(ctx, w.conn.EnsureViews)
}

func (w *world) created(ctx context.Context) (time.Time, error) {
	s, err := w.conn.JS.Stream(ctx, contract.ViewStream)
	if err != nil {
		return time.Time{}, err
	}
	return s.CachedInfo().Created, nil
}

// kubelet and controllers, played by hand.

func (w *world) setReady(ctx context.Context, p *sandbox.Pod) error {
	return w.status(ctx, p, `{"status":{"phase":"Running","podIP":"10.0.0.9","conditions":[{"type":"PodScheduled","status":"True"},{"type":"ContainersReady","status":"True"},{"type":"Ready","status":"True"}],
		"containerStatuses":[{"name":"sandbox","ready":true,"started":true,"restartCount":0,"image":"i","imageID":"","state":{"running":{}}}]}}`)
}

func (w *world) setFailed(ctx context.Context, p *sandbox.Pod) error {
	return w.status(ctx, p, `{"status":{"phase":"Failed","reason":"Evicted","message":"The node was low on resource: memory.","conditions":[{"type":"Ready","status":"False"}]}}`)
}

func (w *world) status(ctx context.Context, p *sandbox.Pod, patch string) error {
	_, err := w.client.CoreV1().Pods(w.ns).Patch(ctx, p.Name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status")
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// evict has a pod deleted, with its grace period.
func (w *world) evict(ctx context.Context, p *sandbox.Pod) error {
	uid := types.UID(p.UID)
	err := w.client.CoreV1().Pods(w.ns).Delete(ctx, p.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// gone ends a pod, as the kubelet does after its grace period.
func (w *world) gone(ctx context.Context, p *sandbox.Pod) error {
	zero, uid := int64(0), types.UID(p.UID)
	err := w.client.CoreV1().Pods(w.ns).Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &zero, Preconditions: &metav1.Preconditions{UID: &uid}})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// bind puts a pod on a node, so that its deletion takes a grace period. Each has one
// of its own: there is no such node, and the controllers take the pods of one that they
// have missed for 40 s.
func (w *world) bind(ctx context.Context, p *sandbox.Pod) error {
	err := w.client.CoreV1().Pods(w.ns).Bind(ctx, &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: p.Name}, Target: corev1.ObjectReference{Kind: "Node", Name: "nowhere-" + p.Name}}, metav1.CreateOptions{})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// releaseVolumes lets deleted volumes go, as the protection controller does.
func (w *world) releaseVolumes(ctx context.Context, record string) error {
	list, err := w.client.CoreV1().PersistentVolumeClaims(w.ns).List(ctx, metav1.ListOptions{LabelSelector: kube.SelectorOf(record)})
	if err != nil {
		return err
	}
	for i := range list.Items {
		if list.Items[i].DeletionTimestamp == nil {
			continue
		}
		_, err := w.client.CoreV1().PersistentVolumeClaims(w.ns).Patch(ctx, list.Items[i].Name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// violation is a broken promise.
type violation struct{ rule, text string }

func (v *violation) Error() string { return fmt.Sprintf("%s: %s", v.rule, v.text) }

func broken(rule, format string, args ...any) error {
	return &violation{rule, fmt.Sprintf(format, args...)}
}
