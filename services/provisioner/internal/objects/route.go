package objects

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

var services = []sandbox.Service{
	sandbox.ServiceAgent, sandbox.ServiceVSCode, sandbox.ServiceWork1, sandbox.ServiceWork2,
}

// Service leads to the sandbox's pod, whichever incarnation it is.
func (c Config) Service(r *sandbox.Record) *corev1.Service {
	out := &corev1.Service{
		ObjectMeta: c.meta(r, r.RuntimeID),
		Spec: corev1.ServiceSpec{
			Type:     corev1.ServiceTypeClusterIP,
			Selector: map[string]string{kube.LabelRecordUID: r.UID, kube.LabelRuntimeID: r.RuntimeID},
		},
	}
	for _, s := range services {
		port := int32(c.Ports.Of(s))
		out.Spec.Ports = append(out.Spec.Ports, corev1.ServicePort{
			Name: string(s), Port: port, TargetPort: intstr.FromInt32(port), Protocol: corev1.ProtocolTCP,
		})
	}
	return out
}

// Ingress has the four hosts of a sandbox.
func (c Config) Ingress(r *sandbox.Record) *networkingv1.Ingress {
	out := &networkingv1.Ingress{ObjectMeta: c.meta(r, r.RuntimeID)}
	out.Annotations = c.IngressAnnotations
	if c.IngressClass != "" {
		out.Spec.IngressClassName = &c.IngressClass
	}
	prefix := networkingv1.PathTypePrefix
	var hosts []string
	for _, s := range services {
		host := c.URLs.Host(r.Route.Label, s)
		hosts = append(hosts, host)
		out.Spec.Rules = append(out.Spec.Rules, networkingv1.IngressRule{
			Host: host,
			IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{
				Paths: []networkingv1.HTTPIngressPath{{
					Path: "/", PathType: &prefix,
					Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{
						Name: r.RuntimeID, Port: networkingv1.ServiceBackendPort{Name: string(s)},
					}},
				}},
			}},
		})
	}
	if c.IngressTLSSecret != "" {
		out.Spec.TLS = []networkingv1.IngressTLS{{Hosts: hosts, SecretName: c.IngressTLSSecret}}
	}
	return out
}
