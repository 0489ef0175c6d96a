//go:build system

package system_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// TestRollingRestart: every service is restarted, replica by replica, as a
// Deployment does, while clients start, pause, resume, stop, read, and talk to
// their sandboxes. Not one of them is told of it: no 5xx, no connection that
// breaks, no stream that ends early. No sandbox is touched, no event is missing or
// comes twice.
//
// It is not parallel: a machine that stands still for half a second would have the
// balancers send connections to where nobody listens any more.
func TestRollingRestart(t *testing.T) {
	r := newRealRig(t, "rolling", stack.Options{Gateways: 2, Provisioners: 2, Watchers: 2, Routers: 2, Settings: []string{noPurge}})
	live := map[string]string{"talks-0": "running", "talks-1": "running", "sleeps": "paused"}
	ids, agents := map[string]string{}, []client.Agent{}
	routers := r.balance(t, "router").client(t)
	for session, status := range live {
		id, err := r.bring(t, session, status)
		if err != nil {
			t.Fatal(err)
		}
		ids[session] = id
		if status == "running" {
			rt := waitStatus(t, r.api(1), session, "running")
			agents = append(agents, client.NewAgent(routers, rt.URL, rt.SessionAPIKey))
		}
	}
	// From here on what is started is on simulated nodes.
	for _, svc := range r.Of("provisioner") {
		r.again(t, svc.Name, stack.Placement(false)...)
	}
	r.waitLeader(t)
	before, told := r.podsOf(t, live), r.events(t, func([]event) bool { return true })

	pods := r.watchPods(t)
	api := r.balance(t, "gateway").api(t, r)
	tr, ctx := newTraffic(t)
	lives := &lifeList{room: make(chan struct{}, 6)}
	tr.every(ctx, 25*time.Millisecond, "read", func(ctx context.Context, n int) error { return read(ctx, api, n, live, ids) })
	tr.every(ctx, 50*time.Millisecond, "request to a sandbox", func(ctx context.Context, n int) error {
		_, err := agents[n%len(agents)].Echo(ctx, client.Request{Path: fmt.Sprintf("/any?n=%d", n)})
		return err
	})
	tr.every(ctx, 500*time.Millisecond, "stream of a sandbox", func(ctx context.Context, n int) error {
		return streamed(ctx, agents[n%len(agents)], 30, 100*time.Millisecond)
	})
	tr.every(ctx, time.Second, "life", func(ctx context.Context, n int) error {
		if !lives.enter() {
			return nil // Kubernetes is the slower one here
		}
		defer lives.leave()
		id, err := wholeTime(ctx, api, lifeOf(n), bed.image)
		lives.add(id)
		return err
	})
	for _, kind := range []string{"gateway", "provisioner", "watcher", "router"} {
		for _, svc := range r.Of(kind) {
			r.roll(t, svc)
		}
	}
	tr.end(t)

	r.waitLeader(t)
	if after := r.podsOf(t, live); !maps.Equal(before, after) {
		t.Errorf("the restarts touched pods:\nbefore %v\nafter  %v", before, after)
	}
	pods.end(t)
	r.toldOnce(t, told, ids, lives.all())
}

// roll restarts one replica: it ends, another one of its kind is ready. Then comes
// the next.
func (r *rig) roll(t *testing.T, svc *stack.Service) {
	t.Helper()
	begin := time.Now()
	if err := r.Signal(svc.Name, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := r.waitEnded(t, svc.Name); err != nil {
		t.Fatal(err)
	}
	ended := time.Since(begin)
	var extra []string
	if svc.Kind == "provisioner" {
		extra = stack.Placement(false)
	}
	if err := r.StartService(svc.Name, extra...); err != nil {
		t.Fatal(err)
	}
	if err := r.WaitService(t.Context(), svc.Name); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %s ended after %s, the next was ready after %s", begin.Format("15:04:05.000"), svc.Name,
		ended.Round(10*time.Millisecond), time.Since(begin).Round(10*time.Millisecond))
}

// toldOnce looks at the events: of those that live on there is none since told, of
// the others all of a life, once and in order.
func (r *rig) toldOnce(t *testing.T, told []event, ids map[string]string, lives []string) {
	t.Helper()
	want := append(slices.Clone(wholeLife), "stopped")
	all := r.events(t, func(all []event) bool {
		return !slices.ContainsFunc(lives, func(id string) bool { return len(typesOf(all, id)) < len(want) })
	})
	if err := inOrder(all); err != nil {
		t.Error(err)
	}
	for _, id := range lives {
		if got := typesOf(all, id); !slices.Equal(got, want) {
			t.Errorf("events of %s: %q, want %q", id, got, want)
		}
	}
	for session, id := range ids {
		if got, was := typesOf(all, id), typesOf(told, id); !slices.Equal(got, was) {
			t.Errorf("events of %s: %q, before the restarts %q", session, got, was)
		}
	}
	if len(lives) < 5 {
		t.Errorf("%d sandboxes lived meanwhile: that shows little", len(lives))
	}
}

// lifeList gathers runtime ids, and bounds how many live at a time: a machine that
// is slow would have more and more.
type lifeList struct {
	room chan struct{}
	mu   sync.Mutex
	ids  []string
}

func (l *lifeList) enter() bool {
	select {
	case l.room <- struct{}{}:
		return true
	default:
		return false
	}
}

func (l *lifeList) leave() { <-l.room }

func (l *lifeList) add(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id != "" {
		l.ids = append(l.ids, id)
	}
}

func (l *lifeList) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.ids)
}

// podWatch sees each pod that is made.
type podWatch struct {
	w    watch.Interface
	done chan struct{}
	uids map[string][]string // by name
}

func (r *rig) watchPods(t *testing.T) *podWatch {
	t.Helper()
	list, err := bed.kube.CoreV1().Pods(r.SandboxNamespace).List(t.Context(), metav1.ListOptions{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	w, err := bed.kube.CoreV1().Pods(r.SandboxNamespace).Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	p := &podWatch{w: w, done: make(chan struct{}), uids: map[string][]string{}}
	go func() {
		defer close(p.done)
		for e := range w.ResultChan() {
			if pod, ok := e.Object.(*corev1.Pod); ok && e.Type == watch.Added {
				p.uids[pod.Name] = append(p.uids[pod.Name], string(pod.UID))
			}
		}
	}()
	t.Cleanup(func() { w.Stop(); <-p.done })
	return p
}

// end demands that every pod was made once: two of each life, one before its pause
// and one after.
func (p *podWatch) end(t *testing.T) {
	t.Helper()
	p.w.Stop()
	<-p.done
	for name, uids := range p.uids {
		if len(uids) != 1 {
			t.Errorf("pod %s was made %d times", name, len(uids))
		}
		if !strings.HasSuffix(name, "-1") && !strings.HasSuffix(name, "-2") {
			t.Errorf("there was a pod %s: a sandbox lost one", name)
		}
	}
}
