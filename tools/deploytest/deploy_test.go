//go:build system

package deploytest_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/devstack/deploy"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// Bounds of waits, for a machine of 2 cores that does other things too.
const (
	pollEvery    = 50 * time.Millisecond
	readyLimit   = 60 * time.Second
	goneLimit    = 60 * time.Second
	visibleLimit = 5 * time.Second // a change on another pod: 250 ms are promised
)

const (
	systemNamespace  = "deploy-system"
	sandboxNamespace = "deploy-sandboxes"
)

// installation is what the tests speak to, all of it by cluster addresses.
type installation struct {
	options deploy.Options
	*deploy.Installation

	gateway, router string // URLs of the Services
	http            *http.Client
	api             client.API
}

// TestDeployed installs once, for that takes longest, and looks at it from all
// sides.
func TestDeployed(t *testing.T) {
	i := install(t)
	t.Run("pods are confined as deploy/ says", i.podsAreConfined)
	t.Run("readiness tells each dependency", i.readinessTellsEachDependency)
	t.Run("from start to stop", i.fromStartToStop)
	t.Run("pods are replaced under reads", i.podsAreReplacedUnderReads)
	t.Run("Check42 services are restarted under reads", i.servicesAreRestarted)
	t.Run("NATS is away for a while", i.natsIsAway)
	t.Run("a second deployment changes nothing", i.secondDeploymentChangesNothing)
}

func install(t *testing.T) *installation {
	t.Helper()
	o := deploy.Options{
		Kubeconfig: bed.Kubeconfig, Registry: bed.Registry, Repo: bed.root, Dir: t.TempDir(),
		SystemNamespace: systemNamespace, SandboxNamespace: sandboxNamespace,
		Settings: append(stack.Defaults(bed.BaseDomain, bed.Registry), stack.Placement(true)...),
		// The nine pods share a small node with the sandboxes of other tests.
		CPURequest: "10m", Log: t.Logf,
	}
	// A run that was killed leaves its own behind.
	if err := deploy.Remove(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { remove(t, o) })
	began := time.Now()
	i := &installation{options: o}
	var err error
	if i.Installation, err = deploy.Deploy(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Logf("deployed in %s", time.Since(began).Round(time.Second))
	i.gateway, i.router = serviceURL(t, "gateway"), serviceURL(t, "router")
	i.http = must(client.NewHTTP(bed.BaseDomain, i.router)).or(t)
	i.api = client.NewAPI(i.http, i.gateway, i.APIKey)
	return i
}

// serviceURL is a Service on its cluster address, which this machine routes to
// the node, where kube-proxy picks a pod.
func serviceURL(t *testing.T, name string) string {
	t.Helper()
	s := must(bed.kube.CoreV1().Services(systemNamespace).Get(t.Context(), name, metav1.GetOptions{})).or(t)
	return fmt.Sprintf("http://%s:%d", s.Spec.ClusterIP, s.Spec.Ports[0].Port)
}

// remove tells the logs of what failed, takes the installation away, and looks
// whether anything is left.
func remove(t *testing.T, o deploy.Options) {
	if t.Failed() {
		tellLogs(t)
	}
	ctx := detached(t)
	if err := deploy.Remove(ctx, o); err != nil {
		t.Errorf("remove: %v", err)
	}
	err := client.Poll(ctx, pollEvery, goneLimit, func(ctx context.Context) (string, bool) {
		volumes, err := bed.kube.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err.Error(), false
		}
		var left []string
		for _, v := range volumes.Items {
			if c := v.Spec.ClaimRef; c != nil && (c.Namespace == systemNamespace || c.Namespace == sandboxNamespace) {
				left = append(left, c.Namespace+"/"+c.Name)
			}
		}
		return strings.Join(left, ", "), len(left) == 0
	})
	if err != nil {
		t.Errorf("volumes are left: %v", err)
	}
}

func tellLogs(t *testing.T) {
	pods, err := bed.kube.CoreV1().Pods(systemNamespace).List(detached(t), metav1.ListOptions{})
	if err != nil {
		t.Log(err)
		return
	}
	lines := int64(20)
	for _, p := range pods.Items {
		raw, err := bed.kube.CoreV1().Pods(systemNamespace).GetLogs(p.Name, &corev1.PodLogOptions{TailLines: &lines}).DoRaw(detached(t))
		t.Logf("log of %s: %v\n%s", p.Name, err, raw)
	}
}

// waitFor looks until it is done, and fails with what was seen last.
func waitFor(t *testing.T, limit time.Duration, what string, look func(context.Context) (seen string, done bool)) {
	t.Helper()
	if err := client.Poll(t.Context(), pollEvery, limit, look); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func (i *installation) secondDeploymentChangesNothing(t *testing.T) {
	before := uids(t)
	o := i.options
	o.Images = i.Images
	again := must(deploy.Deploy(t.Context(), o)).or(t)
	if again.APIKey != i.APIKey || again.SubscriberPassword != i.SubscriberPassword {
		t.Error("keys were made anew")
	}
	after := uids(t)
	for name, uid := range before {
		if after[name] != uid {
			t.Errorf("pod %s was replaced", name)
		}
	}
}

// uids are the pods of the services, by name.
func uids(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, p := range must(bed.kube.CoreV1().Pods(systemNamespace).List(t.Context(), metav1.ListOptions{})).or(t).Items {
		if p.DeletionTimestamp == nil {
			out[p.Name] = string(p.UID)
		}
	}
	return out
}
