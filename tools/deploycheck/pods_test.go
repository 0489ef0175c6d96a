package deploycheck_test

import (
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"

	"github.com/sandbar-io/sandbar/pkg/run"
)

// images are what the pods run, and the programs in them.
var images = map[string][]string{
	"sandbar/gateway:dev":     {"gateway", "router"},
	"sandbar/provisioner:dev": {"provisioner", "watcher"},
	"nats:2.15":               {"nats"},
}

func TestPodsAreConfined(t *testing.T) {
	t.Parallel()
	for _, w := range workloads(load(t)) {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			s := w.pod.Spec
			if sc := s.SecurityContext; sc == nil || sc.RunAsNonRoot == nil || !*sc.RunAsNonRoot || *sc.RunAsUser != 65532 ||
				sc.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
				t.Error("may run as root, or without seccomp")
			}
			// A Service of the name router sets ROUTER_PORT=tcp://… in every pod.
			if s.EnableServiceLinks == nil || *s.EnableServiceLinks {
				t.Error("service links overwrite settings")
			}
			if grace := time.Duration(*s.TerminationGracePeriodSeconds) * time.Second; grace <= run.StopTimeout {
				t.Errorf("is killed after %v, but may take %v to stop", grace, run.StopTimeout)
			}
			for _, c := range s.Containers {
				checkContainer(t, c)
			}
		})
	}
}

func checkContainer(t *testing.T, c corev1.Container) {
	t.Helper()
	sc := c.SecurityContext
	if sc == nil || *sc.AllowPrivilegeEscalation || !*sc.ReadOnlyRootFilesystem || !slices.Equal(sc.Capabilities.Drop, []corev1.Capability{"ALL"}) {
		t.Error("has more than it needs")
	}
	if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
		t.Error("has no CPU or memory request, or no memory limit")
	}
	serves := c.Name == "gateway" || c.Name == "router" // by a Service, to new connections
	if sleeps := c.Lifecycle != nil && c.Lifecycle.PreStop != nil && c.Lifecycle.PreStop.Sleep != nil; sleeps != serves {
		t.Error("gateway and router sleep before they stop, until no Service sends connections; the others need not")
	}
	if !slices.Contains(images[c.Image], c.Name) {
		t.Errorf("image %s does not hold %s", c.Image, c.Name)
	}
	if c.Name != "nats" && !slices.Equal(c.Command, []string{"/usr/local/bin/" + c.Name}) {
		t.Errorf("runs %v", c.Command)
	}
}

// Each service survives a drain and a rollout.
func TestServicesAreTwo(t *testing.T) {
	t.Parallel()
	all := load(t)
	budgets := map[string]bool{}
	for _, b := range of[*policyv1.PodDisruptionBudget](all) {
		budgets[b.Name] = true
	}
	for _, d := range of[*appsv1.Deployment](all) {
		if *d.Spec.Replicas < 2 || !budgets[d.Name] || len(d.Spec.Template.Spec.TopologySpreadConstraints) == 0 {
			t.Errorf("%s: two replicas, spread, with a budget, are wanted", d.Name)
		}
		if u := d.Spec.Strategy.RollingUpdate; u == nil || u.MaxUnavailable.IntValue() != 0 {
			t.Errorf("%s: a rollout takes one away before the next is ready", d.Name)
		}
	}
}
