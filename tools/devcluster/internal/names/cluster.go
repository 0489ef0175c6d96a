package names

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
)

// Cluster looks services up in informers' caches.
type Cluster struct {
	services corelisters.ServiceLister
	slices   discoverylisters.EndpointSliceLister
	virtual  bool
}

// NewCluster registers what it needs with the factory. With virtual set a
// Service resolves to its cluster IP; without a kube-proxy nobody answers
// there, and it resolves to the ready endpoints instead (on their own ports).
func NewCluster(f informers.SharedInformerFactory, virtual bool) Cluster {
	return Cluster{
		services: f.Core().V1().Services().Lister(),
		slices:   f.Discovery().V1().EndpointSlices().Lister(),
		virtual:  virtual,
	}
}

// Lookup implements Services.
func (c Cluster) Lookup(namespace, service, endpoint string) ([]netip.Addr, bool) {
	s, err := c.services.Services(namespace).Get(service)
	if err != nil {
		return nil, false
	}
	if endpoint == "" && c.virtual && s.Spec.ClusterIP != corev1.ClusterIPNone {
		address, err := netip.ParseAddr(s.Spec.ClusterIP)
		return []netip.Addr{address}, err == nil
	}
	found, err := c.slices.EndpointSlices(namespace).List(labels.Set{discoveryv1.LabelServiceName: service}.AsSelector())
	if err != nil {
		return nil, false
	}
	addresses := endpoints(found, endpoint, s.Spec.PublishNotReadyAddresses)
	return addresses, endpoint == "" || len(addresses) > 0
}

func endpoints(all []*discoveryv1.EndpointSlice, hostname string, unready bool) []netip.Addr {
	var addresses []netip.Addr
	for _, slice := range all {
		if slice.AddressType != discoveryv1.AddressTypeIPv4 {
			continue
		}
		for _, e := range slice.Endpoints {
			ready := e.Conditions.Ready == nil || *e.Conditions.Ready || unready
			if !ready || (hostname != "" && (e.Hostname == nil || *e.Hostname != hostname)) {
				continue
			}
			for _, text := range e.Addresses {
				if a, err := netip.ParseAddr(text); err == nil {
					addresses = append(addresses, a)
				}
			}
		}
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	return slices.Compact(addresses)
}
