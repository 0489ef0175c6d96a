//go:build apiserver && failpoints

package provisioner_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/natsx/natstest"
	"github.com/sandbar-io/sandbar/pkg/settings"
	"github.com/sandbar-io/sandbar/pkg/views"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/cluster"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/objects"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/quota"
)

const kubeconfigVar = "SANDBAR_TEST_KUBECONFIG"

// lane is a namespace and a NATS server, and the provisioners between the two.
type lane struct {
	t      *testing.T
	place  place
	client kubernetes.Interface
	ns     string
	url    string // of NATS
	conn   *natsx.Conn
	store  *views.Store
	truth  *cluster.Cluster
	places *quota.Keeper
	dir    string
}

var sealingKey = base64.StdEncoding.EncodeToString(make([]byte, 32))

// on is the lane in a part of the test.
func (l *lane) on(t *testing.T) *lane {
	out := *l
	out.t = t
	return &out
}

func (l *lane) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func newLane(t *testing.T, p place) *lane {
	t.Helper()
	l := &lane{t: t, place: p, dir: t.TempDir()}
	path := os.Getenv(kubeconfigVar)
	if path == "" {
		t.Fatalf("%s is not set: run this by make test, or name the kubeconfig of a control plane without nodes", kubeconfigVar)
	}
	rest, err := kube.ClientConfig(path)
	l.must(err)
	l.client, err = kubernetes.NewForConfig(rest)
	l.must(err)
	ns, err := l.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "walk-"}}, metav1.CreateOptions{})
	l.must(err)
	l.ns = ns.Name
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := l.client.CoreV1().Namespaces().Delete(ctx, l.ns, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	l.until("the namespace's service account is there", func(ctx context.Context) bool {
		_, err := l.client.CoreV1().ServiceAccounts(l.ns).Get(ctx, "default", metav1.GetOptions{})
		return err == nil
	})
	if p == podless {
		l.quota(corev1.ResourcePods, 0)
	}
	l.truth = cluster.New(l.client, nil, objects.Config{Namespace: l.ns, RoutingMode: settings.ByIngress})
	l.places = quota.NewKeeper(l.truth, 0)
	l.nats()
	_, err = l.conn.EnsureCommands(t.Context())
	l.must(err)
	l.must(l.conn.EnsureViews(t.Context()))
	sealer, err := contract.NewSealer(sealingKey)
	l.must(err)
	l.store = views.NewStore(l.conn.JS, sealer, 0)
	if p == closed {
		l.fill()
	}
	return l
}

// nats starts the lane's server, empty.
func (l *lane) nats() {
	l.t.Helper()
	srv := natstest.Start(l.t, server.Options{JetStreamMaxStore: 64 << 30})
	l.url = srv.ClientURL()
	var err error
	l.conn, err = natsx.Connect("walk", natsx.Config{URL: l.url, Replicas: 1}, zap.NewNop())
	l.must(err)
	l.t.Cleanup(l.conn.Close)
}

// quota bounds what the namespace holds, and waits until that is known.
func (l *lane) quota(what corev1.ResourceName, most int64) {
	l.t.Helper()
	api := l.client.CoreV1().ResourceQuotas(l.ns)
	_, err := api.Create(l.t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "most"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{what: *resource.NewQuantity(most, resource.DecimalSI)}},
	}, metav1.CreateOptions{})
	l.must(err)
	l.until("the quota is counted", func(ctx context.Context) bool {
		q, err := api.Get(ctx, "most", metav1.GetOptions{})
		return err == nil && len(q.Status.Hard) == 1
	})
}

// until waits for a condition.
func (l *lane) until(what string, ok func(context.Context) bool) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok(ctx) {
		select {
		case <-ctx.Done():
			l.t.Fatalf("never happened: %s", what)
		case <-tick.C:
		}
	}
}

// process is one provisioner.
type process struct {
	cmd    *exec.Cmd
	dead   chan struct{}
	output *bytes.Buffer // to be read once it is dead
}

// provisioner starts one.
func (l *lane) provisioner(env ...string) *process {
	l.t.Helper()
	p := &process{dead: make(chan struct{}), output: &bytes.Buffer{}}
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Stderr = p.output
	p.cmd.Env = append([]string{
		childVar + "=1", "KUBECONFIG=" + os.Getenv(kubeconfigVar), "NAMESPACE=" + l.ns, "NATS_URL=" + l.url,
		"VIEW_SEALING_KEY=" + sealingKey, "HEALTH_PORT=0", "BASE_DOMAIN=walk.test", "ROUTING_MODE=ingress", "WORKERS=4",
	}, env...)
	l.must(p.cmd.Start())
	go func() {
		defer close(p.dead)
		_ = p.cmd.Wait() // it is killed, one way or another
	}()
	l.t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may be dead
		<-p.dead
		if l.t.Failed() {
			l.t.Logf("a provisioner with %v said:\n%s", env, p.output)
		}
	})
	return p
}

func (p *process) ended() bool {
	select {
	case <-p.dead:
		return true
	default:
		return false
	}
}

// finish tells processes to end: what they have begun they do to its end.
func (l *lane) finish(all ...*process) {
	l.t.Helper()
	for _, p := range all {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have died
	}
	for _, p := range all {
		l.until("a provisioner that was told to end does", func(context.Context) bool { return p.ended() })
	}
}

// once names a file for a fault, and tells whether it has happened.
func (l *lane) once(j *journey, n int) (path string, happened func() bool) {
	path = filepath.Join(l.dir, strings.Join([]string{j.session, string(rune('a' + n))}, "-"))
	return path, func() bool { _, err := os.Stat(path); return err == nil }
}
