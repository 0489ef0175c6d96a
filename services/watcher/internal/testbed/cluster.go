package testbed

import (
	"context"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// KubeconfigVar names the API server of the tests with the build tag apiserver.
const KubeconfigVar = "SANDBAR_TEST_KUBECONFIG"

// Cluster is a namespace of its own on a real API server. No kubelet is there:
// the test says how the pods are.
type Cluster struct {
	t         testing.TB
	Config    *rest.Config
	Client    kubernetes.Interface
	Namespace string
}

// NewCluster makes the namespace; it goes with the test.
func NewCluster(t testing.TB) *Cluster {
	t.Helper()
	path := os.Getenv(KubeconfigVar)
	if path == "" {
		t.Fatalf("%s is not set: `go run ./tools/devcluster up --control-plane-only` prints a kubeconfig", KubeconfigVar)
	}
	cfg, err := kube.ClientConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	c := &Cluster{t: t, Config: cfg, Client: kubernetes.NewForConfigOrDie(cfg)}
	ns, err := c.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "watcher-"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.Namespace = ns.Name
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := c.Client.CoreV1().Namespaces().Delete(ctx, ns.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	Eventually(t, "the namespace's service account", func() bool {
		_, err := c.Client.CoreV1().ServiceAccounts(c.Namespace).Get(t.Context(), "default", metav1.GetOptions{})
		return err == nil
	})
	return c
}

// Start makes a record, as the provisioner does.
func (c *Cluster) Start(session string) *sandbox.Record {
	c.t.Helper()
	now := time.Now().UTC()
	r := Record(session, now)
	r.Generation = now.UnixMilli()
	s, err := kube.EncodeRecord(r)
	if err != nil {
		c.t.Fatal(err)
	}
	if s, err = c.Client.CoreV1().Secrets(c.Namespace).Create(c.t.Context(), s, metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
	return c.decode(s)
}

// Change makes the next generation of a record.
func (c *Cluster) Change(r *sandbox.Record, change func(*sandbox.Record)) *sandbox.Record {
	c.t.Helper()
	next := r.Clone()
	next.Generation++
	next.ChangedAt = time.Now().UTC()
	change(next)
	s, err := kube.EncodeRecord(next)
	if err != nil {
		c.t.Fatal(err)
	}
	s.ResourceVersion = r.ResourceVersion
	if s, err = c.Client.CoreV1().Secrets(c.Namespace).Update(c.t.Context(), s, metav1.UpdateOptions{}); err != nil {
		c.t.Fatal(err)
	}
	return c.decode(s)
}

// Purge deletes a record.
func (c *Cluster) Purge(r *sandbox.Record) {
	c.t.Helper()
	if err := c.Client.CoreV1().Secrets(c.Namespace).Delete(c.t.Context(), r.Name, metav1.DeleteOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *Cluster) decode(s *corev1.Secret) *sandbox.Record {
	c.t.Helper()
	r, err := kube.DecodeRecord(s)
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

// MakePod makes the pod that a record wants.
func (c *Cluster) MakePod(r *sandbox.Record) *corev1.Pod {
	c.t.Helper()
	no := false
	p, err := c.Client.CoreV1().Pods(c.Namespace).Create(c.t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: sandbox.PodName(r.RuntimeID, r.Incarnation), Labels: kube.ObjectLabels(r)},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken: &no, RestartPolicy: corev1.RestartPolicyAlways,
			Containers: []corev1.Container{{Name: kube.ContainerName, Image: "agent:1"}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

// SetReady says of a pod that it runs, for a minute already, so that no clock wants
// another look at it; and whether it is ready.
func (c *Cluster) SetReady(p *corev1.Pod, ready bool) {
	c.t.Helper()
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	p = p.DeepCopy()
	p.ResourceVersion = "" // whatever it is by now
	yes := true
	p.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: "10.1.2.3", PodIPs: []corev1.PodIP{{IP: "10.1.2.3"}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: status}, {Type: corev1.ContainersReady, Status: status}},
		ContainerStatuses: []corev1.ContainerStatus{{
			Name: kube.ContainerName, Ready: ready, Started: &yes,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(time.Now().Add(-time.Minute))}},
		}},
	}
	if _, err := c.Client.CoreV1().Pods(c.Namespace).UpdateStatus(c.t.Context(), p, metav1.UpdateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

// RemovePod deletes a pod at once.
func (c *Cluster) RemovePod(p *corev1.Pod) {
	c.t.Helper()
	now := int64(0)
	err := c.Client.CoreV1().Pods(c.Namespace).Delete(c.t.Context(), p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
	if err != nil && !apierrors.IsNotFound(err) {
		c.t.Fatal(err)
	}
}

// Versions are the resourceVersions of all records and pods.
func (c *Cluster) Versions() map[string]string {
	c.t.Helper()
	out := map[string]string{}
	secrets, err := c.Client.CoreV1().Secrets(c.Namespace).List(c.t.Context(), metav1.ListOptions{LabelSelector: kube.RecordSelector})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, s := range secrets.Items {
		out[s.Name] = s.ResourceVersion
	}
	pods, err := c.Client.CoreV1().Pods(c.Namespace).List(c.t.Context(), metav1.ListOptions{LabelSelector: kube.SandboxSelector})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, p := range pods.Items {
		out[p.Name] = p.ResourceVersion
	}
	return out
}

// Allow gives a user rights in the namespace.
func (c *Cluster) Allow(user string, rules ...rbacv1.PolicyRule) {
	c.t.Helper()
	meta := metav1.ObjectMeta{Name: "test"}
	_, err := c.Client.RbacV1().Roles(c.Namespace).Create(c.t.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	_, err = c.Client.RbacV1().RoleBindings(c.Namespace).Create(c.t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "test"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}, metav1.CreateOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
}
