package names_test

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sandbar-io/sandbar/tools/devcluster/internal/names"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is a cache with one service that has a cluster IP, and one headless.
func cluster(t *testing.T, virtual bool) names.Cluster {
	t.Helper()
	// Nothing is ever asked there: the caches are filled by hand.
	client, err := kubernetes.NewForConfig(&rest.Config{Host: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	f := informers.NewSharedInformerFactory(client, 0)
	c := names.NewCluster(f, virtual)
	yes, no, zero := true, false, "db-0"
	meta := func(name string, labels map[string]string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "ns", Name: name, Labels: labels}
	}
	for _, s := range []*corev1.Service{
		{ObjectMeta: meta("web", nil), Spec: corev1.ServiceSpec{ClusterIP: "10.110.0.7"}},
		{ObjectMeta: meta("db", nil), Spec: corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone}},
		{ObjectMeta: meta("empty", nil), Spec: corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone}},
	} {
		if err := f.Core().V1().Services().Informer().GetStore().Add(s); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []*discoveryv1.EndpointSlice{
		{
			ObjectMeta:  meta("web-1", map[string]string{discoveryv1.LabelServiceName: "web"}),
			AddressType: discoveryv1.AddressTypeIPv4,
			Endpoints: []discoveryv1.Endpoint{
				{Addresses: []string{"10.100.1.3"}, Conditions: discoveryv1.EndpointConditions{Ready: &yes}},
				{Addresses: []string{"10.100.1.4"}, Conditions: discoveryv1.EndpointConditions{Ready: &no}},
			},
		},
		{
			ObjectMeta:  meta("db-1", map[string]string{discoveryv1.LabelServiceName: "db"}),
			AddressType: discoveryv1.AddressTypeIPv4,
			Endpoints: []discoveryv1.Endpoint{
				{Addresses: []string{"10.100.1.6"}},
				{Addresses: []string{"10.100.1.5"}, Hostname: &zero},
			},
		},
	} {
		if err := f.Discovery().V1().EndpointSlices().Informer().GetStore().Add(s); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func serve(t *testing.T, r names.Resolver) string {
	t.Helper()
	// A port that is free for UDP may be taken for TCP by another test's server.
	sockets, err := names.Listen("127.0.0.1:0")
	for tries := 0; err != nil && tries < 20; tries++ {
		sockets, err = names.Listen("127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	address := sockets.Addr()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Serve(ctx, sockets) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return address
}

func TestAnswersOverTheWire(t *testing.T) {
	t.Parallel()
	const host = "10.200.0.1"
	base := names.Resolver{Base: "sandbar.localhost", Host: netip.MustParseAddr(host)}
	plain, virtual := base, base
	plain.Services, virtual.Services = cluster(t, false), cluster(t, true)
	without, with := serve(t, plain), serve(t, virtual)

	for _, c := range []struct {
		name   string
		server string
		ask    string
		kind   uint16
		code   int
		want   []string
	}{
		{"base domain", without, "sandbar.localhost.", dns.TypeA, dns.RcodeSuccess, []string{host}},
		{"wildcard", without, "vscode-abc.sandbar.localhost.", dns.TypeA, dns.RcodeSuccess, []string{host}},
		{"wildcard, deep", without, "a.b.sandbar.localhost.", dns.TypeA, dns.RcodeSuccess, []string{host}},
		{"mixed case, as resolvers send against spoofing", without, "AbC.SandBar.LocalHost.", dns.TypeA, dns.RcodeSuccess, []string{host}},
		{"no IPv6, but the name exists", without, "abc.sandbar.localhost.", dns.TypeAAAA, dns.RcodeSuccess, nil},
		{"another domain with our name at its end", without, "notsandbar.localhost.", dns.TypeA, dns.RcodeNameError, nil},
		{"search list on a wildcard name", without, "abc.sandbar.localhost.ns.svc.cluster.local.", dns.TypeA, dns.RcodeNameError, nil},
		{"service with kube-proxy", with, "web.ns.svc.cluster.local.", dns.TypeA, dns.RcodeSuccess, []string{"10.110.0.7"}},
		{"service without kube-proxy: ready endpoints", without, "web.ns.svc.cluster.local.", dns.TypeA, dns.RcodeSuccess, []string{"10.100.1.3"}},
		{"headless service", with, "db.ns.svc.cluster.local.", dns.TypeA, dns.RcodeSuccess, []string{"10.100.1.5", "10.100.1.6"}},
		{"endpoint of a headless service", with, "db-0.db.ns.svc.cluster.local.", dns.TypeA, dns.RcodeSuccess, []string{"10.100.1.5"}},
		{"endpoint that is not there", with, "db-7.db.ns.svc.cluster.local.", dns.TypeA, dns.RcodeNameError, nil},
		{"service without endpoints", with, "empty.ns.svc.cluster.local.", dns.TypeA, dns.RcodeSuccess, nil},
		{"service of another namespace", with, "web.other.svc.cluster.local.", dns.TypeA, dns.RcodeNameError, nil},
		{"no service", with, "nope.ns.svc.cluster.local.", dns.TypeA, dns.RcodeNameError, nil},
		{"the world", with, "example.com.", dns.TypeA, dns.RcodeNameError, nil},
		{"root", with, ".", dns.TypeA, dns.RcodeNameError, nil},
	} {
		for _, network := range []string{"udp", "tcp"} {
			t.Run(c.name+"/"+network, func(t *testing.T) {
				t.Parallel()
				request := new(dns.Msg).SetQuestion(c.ask, c.kind)
				client := dns.Client{Net: network, Timeout: 5 * time.Second}
				reply, _, err := client.Exchange(request, c.server)
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, rr := range reply.Answer {
					if a, ok := rr.(*dns.A); ok {
						got = append(got, a.A.String())
					}
				}
				if reply.Rcode != c.code || !slices.Equal(got, c.want) {
					t.Errorf("%s %v, want %s %v", dns.RcodeToString[reply.Rcode], got, dns.RcodeToString[c.code], c.want)
				}
			})
		}
	}
}
