//go:build apiserver

package cluster_test

import (
	"context"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/settings"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/cluster"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/objects"
)

// patience is how long a test waits for a controller; the machine may be busy.
const patience = 60 * time.Second

// world is a namespace of its own on a real API server. No kubelet is there.
type world struct {
	t      *testing.T
	client kubernetes.Interface
	ns     string
}

// newWorld makes the namespace, with the Pod Security level that is enforced.
func newWorld(t *testing.T, level string) *world {
	t.Helper()
	path := os.Getenv("SANDBAR_TEST_KUBECONFIG")
	if path == "" {
		t.Fatal("SANDBAR_TEST_KUBECONFIG is not set: run this by make test, or name the kubeconfig that `go run ./devcluster up --control-plane-only` in tools/ prints")
	}
	rest, err := kube.ClientConfig(path)
	must(t, err)
	client, err := kubernetes.NewForConfig(rest)
	must(t, err)
	ns, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "provisioner-", Labels: map[string]string{"pod-security.kubernetes.io/enforce": level},
	}}, metav1.CreateOptions{})
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = client.CoreV1().Namespaces().Delete(ctx, ns.Name, metav1.DeleteOptions{})
	})
	w := &world{t: t, client: client, ns: ns.Name}
	w.account("default")
	return w
}

// account makes a service account, which pods want there; a controller may be
// faster.
func (w *world) account(name string) {
	w.t.Helper()
	_, err := w.client.CoreV1().ServiceAccounts(w.ns).Create(w.t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		w.t.Fatal(err)
	}
}

func (w *world) config() objects.Config {
	q := resource.MustParse
	return objects.Config{
		Namespace: w.ns, CPURequest: q("100m"), CPULimit: q("1"), MemoryRequest: q("64Mi"), MemoryLimit: q("1Gi"),
		WorkspaceSize: q("1Gi"), WorkspacePath: "/workspace", AccessMode: corev1.ReadWriteOncePod, StorageClass: "none",
		Capabilities: objects.ProfileAuto, AllowRoot: true, Ports: sandbox.DefaultPorts, IngressClass: "none", RoutingMode: settings.ByIngress,
		URLs: sandbox.URLPattern{Scheme: "http", BaseDomain: "test.localhost", Separator: "."},
	}
}

// cluster has a Service and an Ingress for each sandbox.
func (w *world) cluster() *cluster.Cluster { return cluster.New(w.client, nil, w.config()) }

// newRecord is a record that is not there yet.
func newRecord(session string) *sandbox.Record {
	now := time.Now().UTC().Truncate(time.Millisecond)
	id := sandbox.NewRuntimeID()
	u := sandbox.URLPattern{Scheme: "http", BaseDomain: "test.localhost", Separator: "."}
	return &sandbox.Record{
		Name: sandbox.RecordName("acme", session), Tenant: "acme", SessionID: session, RuntimeID: id, Desired: sandbox.Running,
		Generation: now.UnixMilli(), Incarnation: 1, Fence: 7, LastCommand: "c",
		Spec:  sandbox.Spec{Image: "image", Environment: map[string]string{"A": "$(B)"}, ResourceFactor: 1},
		Route: u.NewRoute(id, sandbox.DefaultPorts), SessionKey: sandbox.NewKey(), KeyNumber: 1, SecretKey: sandbox.NewKey(),
		CreatedAt: now, ChangedAt: now,
	}
}

// record makes a record.
func (w *world) record(session string) *sandbox.Record {
	w.t.Helper()
	r, err := w.cluster().CreateRecord(w.t.Context(), newRecord(session))
	must(w.t, err)
	return r
}

// hold keeps an object from going, as a kubelet or a protection controller does.
func (w *world) hold(kind, name string) { w.finalizers(kind, name, `["sandbar.io/test"]`) }

func (w *world) release(kind, name string) { w.finalizers(kind, name, `null`) }

func (w *world) finalizers(kind, name, list string) {
	w.t.Helper()
	body := []byte(`{"metadata":{"finalizers":` + list + `}}`)
	var err error
	switch kind {
	case "Pod":
		_, err = w.client.CoreV1().Pods(w.ns).Patch(w.t.Context(), name, types.MergePatchType, body, metav1.PatchOptions{})
	case "PersistentVolumeClaim":
		_, err = w.client.CoreV1().PersistentVolumeClaims(w.ns).Patch(w.t.Context(), name, types.MergePatchType, body, metav1.PatchOptions{})
	case "Service":
		_, err = w.client.CoreV1().Services(w.ns).Patch(w.t.Context(), name, types.MergePatchType, body, metav1.PatchOptions{})
	case "Ingress":
		_, err = w.client.NetworkingV1().Ingresses(w.ns).Patch(w.t.Context(), name, types.MergePatchType, body, metav1.PatchOptions{})
	}
	if err != nil && !apierrors.IsNotFound(err) { // a controller let go of it first
		w.t.Fatal(err)
	}
}

// quota makes a quota, and waits until it is kept to.
func (w *world) quota(hard corev1.ResourceList) {
	w.t.Helper()
	hard = maps.Clone(hard)
	hard["count/configmaps"] = resource.MustParse("0")
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "room"}, Spec: corev1.ResourceQuotaSpec{Hard: hard}}
	_, err := w.client.CoreV1().ResourceQuotas(w.ns).Create(w.t.Context(), q, metav1.CreateOptions{})
	must(w.t, err)
	// Its status is there before all who admit know of it.
	w.until("the quota", func() bool {
		_, err := w.client.CoreV1().ConfigMaps(w.ns).Create(w.t.Context(),
			&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "none"}}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err != nil && strings.Contains(err.Error(), "exceeded quota")
	})
}

// until waits for a condition that nothing tells of.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			w.t.Fatalf("waited %v for: %s", patience, what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wants checks code and words of an error.
func wants(t *testing.T, err error, code sandbox.Code, words ...string) {
	t.Helper()
	if sandbox.CodeOf(err) != code {
		t.Fatalf("want %s: %v", code, err)
	}
	for _, word := range words {
		if !strings.Contains(sandbox.MessageOf(err), word) {
			t.Errorf("%q is not in %q", word, sandbox.MessageOf(err))
		}
	}
}
