package deploycheck_test

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// What a pod names is there: service account, ConfigMaps, Secrets, their keys,
// volumes, ports.
func TestPodsNameWhatIsThere(t *testing.T) {
	t.Parallel()
	all := load(t)
	accounts := map[string]bool{}
	for _, sa := range of[*corev1.ServiceAccount](all) {
		accounts[sa.Name] = true
	}
	for _, w := range workloads(all) {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			if !accounts[w.pod.Spec.ServiceAccountName] {
				t.Errorf("no service account %q", w.pod.Spec.ServiceAccountName)
			}
			for _, c := range w.pod.Spec.Containers {
				checkEnvironment(t, all, c)
				checkMounts(t, all, w.pod.Spec, c)
				checkProbes(t, c)
			}
		})
	}
}

// keys returns the keys of a ConfigMap or Secret, and whether there is one.
func keys(all []manifest, kind, name string) (out []string, found bool) {
	for _, m := range all {
		if m.kind() != kind || m.meta.GetName() != name || m.meta.GetNamespace() != systemNS {
			continue
		}
		switch o := m.obj.(type) {
		case *corev1.ConfigMap:
			for k := range o.Data {
				out = append(out, k)
			}
		case *corev1.Secret:
			for k := range o.StringData {
				out = append(out, k)
			}
		}
		return out, true
	}
	return nil, false
}

func checkEnvironment(t *testing.T, all []manifest, c corev1.Container) {
	t.Helper()
	for _, from := range c.EnvFrom {
		if from.ConfigMapRef == nil {
			t.Errorf("envFrom of something that is not a ConfigMap: who may see it all?")
		} else if _, ok := keys(all, "ConfigMap", from.ConfigMapRef.Name); !ok {
			t.Errorf("no ConfigMap %q", from.ConfigMapRef.Name)
		}
	}
	for _, e := range c.Env {
		if e.ValueFrom == nil {
			continue
		}
		if ref := e.ValueFrom.SecretKeyRef; ref != nil {
			if have, ok := keys(all, "Secret", ref.Name); !ok || !slices.Contains(have, ref.Key) {
				t.Errorf("%s: no key %q in Secret %q", e.Name, ref.Key, ref.Name)
			}
		}
		if ref := e.ValueFrom.ConfigMapKeyRef; ref != nil {
			if have, ok := keys(all, "ConfigMap", ref.Name); !ok || !slices.Contains(have, ref.Key) {
				t.Errorf("%s: no key %q in ConfigMap %q", e.Name, ref.Key, ref.Name)
			}
		}
	}
}

func checkMounts(t *testing.T, all []manifest, pod corev1.PodSpec, c corev1.Container) {
	t.Helper()
	volumes := map[string]bool{"data": c.Name == "nats"} // of the StatefulSet's claim template
	for _, v := range pod.Volumes {
		volumes[v.Name] = true
		if ref := v.ConfigMap; ref != nil {
			if _, ok := keys(all, "ConfigMap", ref.Name); !ok {
				t.Errorf("volume %s: no ConfigMap %q", v.Name, ref.Name)
			}
		}
		if ref := v.Secret; ref != nil && (ref.Optional == nil || !*ref.Optional) {
			if _, ok := keys(all, "Secret", ref.SecretName); !ok {
				t.Errorf("volume %s: no Secret %q", v.Name, ref.SecretName)
			}
		}
	}
	for _, m := range c.VolumeMounts {
		if !volumes[m.Name] {
			t.Errorf("no volume %q", m.Name)
		}
	}
}

func checkProbes(t *testing.T, c corev1.Container) {
	t.Helper()
	if c.LivenessProbe == nil || c.ReadinessProbe == nil {
		t.Fatal("liveness and readiness are not both probed")
	}
	for _, p := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		switch {
		case p == nil:
		case p.HTTPGet != nil && !hasPort(c, p.HTTPGet.Port):
			t.Errorf("a probe of port %v, which the container has not", p.HTTPGet.Port.String())
		case p.TCPSocket != nil && !hasPort(c, p.TCPSocket.Port):
			t.Errorf("a probe of port %v, which the container has not", p.TCPSocket.Port.String())
		}
	}
	if c.Name != "nats" && (c.LivenessProbe.HTTPGet.Path != "/liveness" || c.ReadinessProbe.HTTPGet.Path != "/readiness") {
		t.Error("the probes ask for other paths than /liveness and /readiness")
	}
}

func hasPort(c corev1.Container, port intstr.IntOrString) bool {
	return slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool {
		return port.Type == intstr.String && p.Name == port.StrVal || port.Type == intstr.Int && p.ContainerPort == port.IntVal
	})
}

// Selectors select, and named ports exist on what they select.
func TestSelectorsAndPortsMeet(t *testing.T) {
	t.Parallel()
	all := load(t)
	pods := workloads(all)
	for _, w := range pods {
		if got := selected(t, pods, w.selector); len(got) != 1 || got[0].name != w.name {
			t.Errorf("%s selects %v", w.name, got)
		}
		for _, s := range w.pod.Spec.TopologySpreadConstraints {
			if got := selected(t, pods, s.LabelSelector); len(got) != 1 || got[0].name != w.name {
				t.Errorf("%s is spread with %v", w.name, got)
			}
		}
	}
	for _, b := range of[*policyv1.PodDisruptionBudget](all) {
		if got := selected(t, pods, b.Spec.Selector); len(got) != 1 || got[0].name != b.Name {
			t.Errorf("PodDisruptionBudget %s is about %v", b.Name, got)
		}
	}
	services := map[string]*corev1.Service{}
	for _, s := range of[*corev1.Service](all) {
		services[s.Name] = s
		got := selected(t, pods, &metav1.LabelSelector{MatchLabels: s.Spec.Selector})
		if len(got) != 1 || got[0].name != s.Name {
			t.Errorf("Service %s leads to %v", s.Name, got)
			continue
		}
		for _, p := range s.Spec.Ports {
			if !hasPort(got[0].pod.Spec.Containers[0], p.TargetPort) {
				t.Errorf("Service %s leads to port %s, which is not there", s.Name, p.TargetPort.String())
			}
		}
	}
	for _, i := range of[*networkingv1.Ingress](all) {
		for _, r := range i.Spec.Rules {
			for _, p := range r.HTTP.Paths {
				b := p.Backend.Service
				s := services[b.Name]
				if s == nil || !slices.ContainsFunc(s.Spec.Ports, func(sp corev1.ServicePort) bool { return sp.Name == b.Port.Name }) {
					t.Errorf("Ingress %s, host %s: no port %q of Service %q", i.Name, r.Host, b.Port.Name, b.Name)
				}
			}
		}
	}
}

// selected are the workloads whose pods a selector selects.
func selected(t *testing.T, pods []workload, s *metav1.LabelSelector) []workload {
	t.Helper()
	sel, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	var out []workload
	for _, w := range pods {
		if sel.Matches(labels.Set(w.pod.Labels)) {
			out = append(out, w)
		}
	}
	return out
}

// Policies name pods and ports that are there, and leave no pod without one.
func TestNetworkPoliciesMeetPods(t *testing.T) {
	t.Parallel()
	all := load(t)
	pods := workloads(all)
	covered := map[string]bool{}
	for _, p := range of[*networkingv1.NetworkPolicy](all) {
		covered[p.Namespace] = covered[p.Namespace] || len(p.Spec.PodSelector.MatchLabels)+len(p.Spec.PodSelector.MatchExpressions) == 0
		if p.Namespace != systemNS {
			continue
		}
		about := selected(t, pods, &p.Spec.PodSelector)
		for _, rule := range p.Spec.Ingress {
			for _, port := range rule.Ports {
				for _, w := range about {
					if !hasPort(w.pod.Spec.Containers[0], *port.Port) {
						t.Errorf("NetworkPolicy %s: %s has no port %s", p.Name, w.name, port.Port.String())
					}
				}
			}
			for _, from := range rule.From {
				if got := selected(t, pods, from.PodSelector); len(got) != 4 {
					t.Errorf("NetworkPolicy %s lets %d of the four services in", p.Name, len(got))
				}
			}
		}
	}
	if !covered[systemNS] || !covered[sandboxesNS] {
		t.Error("a namespace has no policy for all of its pods")
	}
}
