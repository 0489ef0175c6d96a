//go:build apiserver

package watcher_test

import (
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/zap"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/watcher/internal/testbed"
)

var testLog = zap.NewNop()

func TestRecordsAndPodsBecomeViewsAndEvents(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	w := s.watcher()
	s.bucket()
	r := s.k8s.Start("one")
	s.eventually(r, sandbox.StatusStarting)
	pod := s.k8s.MakePod(r)
	s.k8s.SetReady(pod, true)
	s.eventually(r, sandbox.StatusRunning)
	if v := s.view(r); v.Address != "10.1.2.3" || v.SessionKey != "key-one" || v.Image != "agent:1" {
		t.Errorf("view %+v", v)
	}
	s.k8s.SetReady(pod, false)
	s.eventually(r, sandbox.StatusStarting)
	s.k8s.SetReady(pod, true)
	s.eventually(r, sandbox.StatusRunning)
	r = s.k8s.Change(r, func(n *sandbox.Record) { n.Desired = sandbox.Paused })
	s.k8s.RemovePod(pod)
	s.eventually(r, sandbox.StatusPaused)
	r = s.k8s.Change(r, func(n *sandbox.Record) { n.Desired = sandbox.Running; n.Incarnation++ })
	s.eventually(r, sandbox.StatusStarting)
	pod = s.k8s.MakePod(r)
	s.k8s.SetReady(pod, true)
	s.eventually(r, sandbox.StatusRunning)
	r = s.k8s.Change(r, func(n *sandbox.Record) { n.Desired = sandbox.Stopped; n.Spec = sandbox.Spec{} })
	s.k8s.RemovePod(pod)
	s.eventually(r, sandbox.StatusStopped)
	testbed.Eventually(t, "it is ready and complete", func() bool {
		st := w.state()
		return st.Code == 200 && st.Status == "ready" && st.Role == "leader" && st.ViewsComplete
	})
	s.k8s.Purge(r)
	testbed.Eventually(t, "the key goes with the record", func() bool { return s.view(r) == nil })
	s.wantEvents(r, sandbox.EventRequested, sandbox.EventStarting, sandbox.EventReady, sandbox.EventUnready, sandbox.EventReady,
		sandbox.EventPaused, sandbox.EventResumed, sandbox.EventStarting, sandbox.EventReady, sandbox.EventStopped)
}

func TestTheBucketIsWipedUnderLiveSandboxes(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.watcher()
	s.watcher()
	var all []*sandbox.Record
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		r := s.k8s.Start(name)
		s.k8s.SetReady(s.k8s.MakePod(r), true)
		all = append(all, r)
	}
	paused := s.k8s.Change(s.k8s.Start("p"), func(n *sandbox.Record) { n.Desired = sandbox.Paused })
	for _, r := range all {
		s.eventually(r, sandbox.StatusRunning)
	}
	s.eventually(paused, sandbox.StatusPaused)
	gateway := s.follow()
	testbed.Eventually(t, "a gateway is ready", func() bool { return gateway.Status().Ready })
	before := s.k8s.Versions()

	s.nats.Wipe()
	fresh := s.follow() // a gateway that starts now
	testbed.Eventually(t, "a fresh gateway is ready", func() bool {
		for _, r := range all {
			if gateway.Memory().Session("acme", r.SessionID) == nil {
				t.Fatalf("%s is missing in a gateway that knew it", r.SessionID)
			}
		}
		return fresh.Status().Ready
	})
	for _, r := range append(all, paused) {
		if fresh.Memory().Session("acme", r.SessionID) == nil {
			t.Errorf("the bucket is complete without %s", r.SessionID)
		}
		s.wantEvents(r, sandbox.EventRestored)
	}
	testbed.Eventually(t, "the old gateway confirms", func() bool { return gateway.ReadIndex(t.Context()) == nil })
	s.settled()
	for _, r := range all {
		s.wantEvents(r, sandbox.EventRestored)
		s.eventually(r, sandbox.StatusRunning)
	}
	if after := s.k8s.Versions(); !maps.Equal(before, after) {
		t.Errorf("records or pods were touched:\n%v\n%v", before, after)
	}
}

func TestPhantomsGoAndLiveKeysStay(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	w := s.watcher()
	live, dead := s.k8s.Start("live"), s.k8s.Start("dead")
	s.eventually(live, sandbox.StatusStarting)
	s.eventually(dead, sandbox.StatusStarting)
	w.kill()
	s.k8s.Purge(dead) // while nobody looks
	kv, err := s.conn.JS.KeyValue(t.Context(), contract.ViewBucket)
	if err != nil {
		t.Fatal(err)
	}
	if err := kv.Delete(t.Context(), testbed.Key(live)); err != nil { // an acknowledged write was lost
		t.Fatal(err)
	}
	s.watcher()
	testbed.Eventually(t, "the phantom goes", func() bool { return s.view(dead) == nil })
	s.eventually(live, sandbox.StatusStarting)
	s.settled() // over more than one resync
	if s.view(live) == nil {
		t.Error("the key of a live record was removed")
	}
}

// A frozen process wakes up and believes that it still leads.
func TestALeaderThatSlept(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	one := s.watcher()
	testbed.Eventually(t, "one leads", one.leads)
	s.bucket()
	two := s.watcher()
	r := s.k8s.Start("s")
	pod := s.k8s.MakePod(r)
	s.k8s.SetReady(pod, true)
	s.eventually(r, sandbox.StatusRunning)
	if err := one.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	testbed.Eventually(t, "two leads", two.leads)
	s.k8s.SetReady(pod, false)
	s.eventually(r, sandbox.StatusStarting)
	if err := one.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	testbed.Eventually(t, "one stands by", func() bool { return one.state().Role == "standby" })
	s.k8s.SetReady(pod, true)
	s.eventually(r, sandbox.StatusRunning)
	s.settled()
	s.wantEvents(r, sandbox.EventRequested, sandbox.EventStarting, sandbox.EventReady, sandbox.EventUnready, sandbox.EventReady)
}

func TestAMissingRightIsNamed(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	w := s.watcher("KUBECONFIG=" + nobody(t))
	testbed.Eventually(t, "readiness says which right is missing", func() bool {
		st := w.state()
		return st.Code == 503 && strings.Contains(st.Kubernetes, "secrets is forbidden") && strings.Contains(st.Kubernetes, "pods is forbidden")
	})
}

func TestAMissingRightForTheLeaseIsNamed(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	user := "system:serviceaccount:" + s.k8s.Namespace + ":reader"
	s.k8s.Allow(user, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets", "pods"}, Verbs: []string{"list", "watch"}})
	w := s.watcher("KUBECONFIG=" + as(t, user))
	testbed.Eventually(t, "readiness says which right is missing", func() bool {
		st := w.state()
		return st.Code == 503 && strings.Contains(st.Kubernetes, "cannot get resource \"leases\"")
	})
}

// TestAFrozenWatchMakesItUnready: a watcher whose watches stand still says so, and is
// ready again once they have begun anew.
func TestAFrozenWatchMakesItUnready(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	transport, err := rest.TransportFor(s.k8s.Config)
	if err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(s.k8s.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	net := &testbed.Freezer{Next: transport}
	front := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }, Transport: net, FlushInterval: -1,
		ErrorLog: log.New(io.Discard, "", 0), // of watches that are given up
	})
	t.Cleanup(front.Close)
	w := s.watcher("KUBECONFIG="+at(t, front.URL), "RESYNC=1s")
	// By then it lists no more by itself, which would show what a watch hides.
	testbed.Eventually(t, "all views are written", func() bool { return w.state().ViewsComplete })
	begin := net.FreezeAll()
	defer begin()
	r := s.k8s.Start("one")
	s.k8s.MakePod(r)
	testbed.Eventually(t, "it says that its watches stood still", func() bool {
		st := w.state()
		return st.Code == http.StatusServiceUnavailable && st.Detail == "the watch of records and pods stood still"
	})
	begin()
	testbed.Eventually(t, "it is ready", func() bool { return w.state().Code == http.StatusOK })
	s.eventually(r, sandbox.StatusStarting)
}

func TestWithoutNATSItWaits(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.nats.Stop()
	w := s.watcher()
	testbed.Eventually(t, "it leads, and says that NATS is away", func() bool {
		st := w.state()
		return st.Code == 200 && st.Status == "degraded" && st.Role == "leader" && !st.ViewsComplete && st.NATS != "ok"
	})
	s.nats.Start()
	testbed.Eventually(t, "it is ready", func() bool { st := w.state(); return st.Status == "ready" && st.ViewsComplete })
}

// at is a kubeconfig of another address, where nobody is asked who he is.
func at(t *testing.T, url string) string {
	t.Helper()
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters["here"] = &clientcmdapi.Cluster{Server: url}
	cfg.Contexts["here"] = &clientcmdapi.Context{Cluster: "here"}
	cfg.CurrentContext = "here"
	return kubeconfig(t, cfg)
}

// nobody is a kubeconfig of a user without any right.
func nobody(t *testing.T) string { return as(t, "nobody") }

// as is a kubeconfig of a user.
func as(t *testing.T, user string) string {
	t.Helper()
	cfg, err := clientcmd.LoadFromFile(os.Getenv(testbed.KubeconfigVar))
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range cfg.AuthInfos {
		u.Impersonate = user
	}
	return kubeconfig(t, cfg)
}

func kubeconfig(t *testing.T, cfg *clientcmdapi.Config) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*cfg, path); err != nil {
		t.Fatal(err)
	}
	return path
}
