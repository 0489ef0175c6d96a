package cluster

import (
	"context"
	"crypto/tls"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sandbar-io/sandbar/tools/devcluster/internal/binaries"
	"github.com/sandbar-io/sandbar/tools/internal/process"
)

// Names of the control plane's programs: their pid files and logs.
const (
	etcdName       = "etcd"
	apiserverName  = "kube-apiserver"
	controllerName = "kube-controller-manager"
	schedulerName  = "kube-scheduler"
)

// plain asks health endpoints, whose certificates are self-made.
var plain = &http.Client{
	Timeout:   2 * time.Second,
	Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
}

func startEtcd(ctx context.Context, l layout, cache binaries.Cache) error {
	client, peer := l.etcd(2379), l.etcd(2380)
	p, err := l.table().Start(process.Command{
		Name: etcdName, Path: cache.Path(binaries.Etcd),
		Argv: []string{
			"--name=default", "--data-dir=" + l.path("etcd"),
			"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
			"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=default=" + peer,
			// Its data lives no longer than its processes: nothing to lose in a power cut.
			"--unsafe-no-fsync",
			"--log-level=warn",
		},
	})
	if err != nil {
		return err
	}
	return until(ctx, etcdName, p, healthy(plain, client+"/health"))
}

func startAPIServer(ctx context.Context, l layout, cache binaries.Cache) error {
	args := []string{
		"--etcd-servers=" + l.etcd(2379),
		"--bind-address=" + l.host().String(), "--secure-port=6443",
		"--tls-cert-file=" + l.cert("apiserver.crt"), "--tls-private-key-file=" + l.cert("apiserver.key"),
		"--client-ca-file=" + l.cert("ca.crt"),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + l.cert("sa.pub"), "--service-account-signing-key-file=" + l.cert("sa.key"),
		"--service-cluster-ip-range=" + l.serviceCIDR(),
		"--allow-privileged=true",
		"--kubelet-client-certificate=" + l.cert("apiserver-kubelet.crt"), "--kubelet-client-key=" + l.cert("apiserver-kubelet.key"),
		"--kubelet-certificate-authority=" + l.cert("ca.crt"), "--kubelet-preferred-address-types=InternalIP",
		"--proxy-client-cert-file=" + l.cert("front-proxy.crt"), "--proxy-client-key-file=" + l.cert("front-proxy.key"),
		"--requestheader-client-ca-file=" + l.cert("ca.crt"), "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		// A pod on a lost node goes within a test's patience, not after 5 minutes.
		"--default-not-ready-toleration-seconds=5", "--default-unreachable-toleration-seconds=5",
	}
	if l.Bridged {
		args = append(args, "--advertise-address="+l.host().String())
	} else {
		// A loopback address may not stand in an Endpoints object.
		args = append(args, "--endpoint-reconciler-type=none")
	}
	p, err := l.table().Start(process.Command{Name: apiserverName, Path: cache.Path(binaries.Kubernetes), Argv0: "kube-apiserver", Argv: args})
	if err != nil {
		return err
	}
	return until(ctx, apiserverName, p, healthy(plain, l.apiURL()+"/readyz"))
}

func startControllers(ctx context.Context, l layout, cache binaries.Cache) error {
	config := l.clientConfig("controller")
	p, err := l.table().Start(process.Command{
		Name: controllerName, Path: cache.Path(binaries.Kubernetes), Argv0: "kube-controller-manager",
		Argv: []string{
			"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
			"--bind-address=" + l.host().String(), "--leader-elect=false",
			"--root-ca-file=" + l.cert("ca.crt"), "--service-account-private-key-file=" + l.cert("sa.key"),
			"--use-service-account-credentials=true",
			"--cluster-signing-cert-file=" + l.cert("ca.crt"), "--cluster-signing-key-file=" + l.cert("ca.key"),
			// Each node knows its own range; handed out here they would depend
			// on which node came first.
			"--allocate-node-cidrs=false",
			"--kube-api-qps=500", "--kube-api-burst=1000",
			// A silent node counts as lost after 16 s; its lease is renewed every 10 s.
			"--node-monitor-period=2s", "--node-monitor-grace-period=16s",
			"--pvclaimbinder-sync-period=5s",
		},
	})
	if err != nil {
		return err
	}
	return until(ctx, controllerName, p, healthy(plain, "https://"+l.at(controllerPort)+"/healthz"))
}

func startScheduler(ctx context.Context, l layout, cache binaries.Cache) error {
	config := l.clientConfig("scheduler")
	p, err := l.table().Start(process.Command{
		Name: schedulerName, Path: cache.Path(binaries.Kubernetes), Argv0: "kube-scheduler",
		Argv: []string{
			"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
			"--bind-address=" + l.host().String(), "--leader-elect=false",
			"--kube-api-qps=500", "--kube-api-burst=1000",
		},
	})
	if err != nil {
		return err
	}
	return until(ctx, schedulerName, p, healthy(plain, "https://"+l.at(schedulerPort)+"/readyz"))
}

// inhabited waits until the first pod can be created: a pod needs the service
// account that the controller manager makes.
func inhabited(ctx context.Context, client kubernetes.Interface) error {
	return until(ctx, "the default service account", nil, func(ctx context.Context) error {
		_, err := client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}
