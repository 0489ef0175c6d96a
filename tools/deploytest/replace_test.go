//go:build system

package deploytest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

// reader reads again and again, and remembers what failed.
type reader struct {
	name string
	read func(context.Context) error

	reads  int
	failed []error
}

// readEvery is often enough to meet the moments in which a pod goes.
const readEvery = 20 * time.Millisecond

func (r *reader) run(ctx context.Context) {
	tick := time.NewTicker(readEvery)
	defer tick.Stop()
	for {
		err := r.read(ctx)
		if ctx.Err() != nil {
			return
		}
		r.reads++
		if err != nil {
			r.failed = append(r.failed, fmt.Errorf("read %d: %w", r.reads, err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// under runs readers while something is done, and fails with what failed them.
func under(t *testing.T, readers []*reader, do func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	for _, r := range readers {
		all.Go(func() { r.run(ctx) })
	}
	do()
	cancel()
	all.Wait()
	for _, r := range readers {
		const told = 3
		t.Logf("%s: %d reads, %d failed", r.name, r.reads, len(r.failed))
		if n := len(r.failed); n > 0 {
			t.Errorf("%s: %d of %d reads failed: %v", r.name, n, r.reads, errors.Join(r.failed[:min(n, told)]...))
		}
		if r.reads == 0 {
			t.Errorf("%s: nothing was read", r.name)
		}
	}
}

// sessionReader reads a session at base.
func (i *installation) sessionReader(name, base, session string) *reader {
	api := client.NewAPI(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, base, i.APIKey)
	return &reader{name: name, read: func(ctx context.Context) error {
		_, err := api.Session(ctx, session)
		return err
	}}
}

// aliveReader asks for a sandbox's /alive by the router's Service.
func (i *installation) aliveReader(r client.Runtime) *reader {
	agent := client.NewAgent(i.http, i.router, r.SessionAPIKey)
	agent.HTTP = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	host := strings.TrimPrefix(r.URL, "http://")
	return &reader{name: "the sandbox, by the router's Service", read: func(ctx context.Context) error {
		answer, err := agent.Do(ctx, client.Request{Path: "/alive", Host: host})
		if err == nil && !answer.OK() {
			err = &client.StatusError{Answer: answer}
		}
		return err
	}}
}

// One pod of each goes, as in a drain; what clients ask meanwhile is answered by
// those that stay.
func (i *installation) podsAreReplacedUnderReads(t *testing.T) {
	r := i.start(t)
	var leave, stay []corev1.Pod
	for _, name := range []string{"gateway", "provisioner", "router"} {
		pods := podsOf(t, name)
		if len(pods) < 2 {
			t.Fatalf("%d pods of %s: none would be left", len(pods), name)
		}
		leave, stay = append(leave, pods[0]), append(stay, pods[1])
	}
	stays := at(stay[0], gatewayPort)
	readers := []*reader{
		i.sessionReader("the gateway that stays", stays, r.SessionID),
		i.sessionReader("the gateway's Service", i.gateway, r.SessionID),
		i.aliveReader(r),
	}
	var meanwhile client.Runtime
	under(t, readers, func() {
		drained := i.watchDrain(t, leave[0])
		for _, p := range leave {
			deletePod(t, p)
		}
		// To the gateway that stays, for a client repeats what met another's end.
		other := *i
		other.api = client.NewAPI(i.http, stays, i.APIKey)
		meanwhile = other.start(t)
		waitReplaced(t, leave...)
		if err := <-drained; err != nil {
			t.Error(err)
		}
	})
	i.stop(t, meanwhile)
	i.stop(t, r)
}

// watchDrain asks a pod that is about to go for its readiness, until it no longer
// answers: on its way it must have said that it stops.
func (i *installation) watchDrain(t *testing.T, p corev1.Pod) <-chan error {
	done := make(chan error, 1)
	ctx := t.Context()
	go func() {
		var said []string
		err := client.Poll(ctx, readEvery, readyLimit, func(ctx context.Context) (string, bool) {
			answer, r, err := i.ask(ctx, at(p, gatewayPort))
			if err != nil {
				return err.Error(), true
			}
			said = append(said, fmt.Sprintf("%d %s: %s", answer.Status, r.Status, r.Detail))
			return said[len(said)-1], false
		})
		if want := "503 unready: the process is stopping"; err == nil && !slices.Contains(said, want) {
			err = fmt.Errorf("pod %s went without a word: want %q, got %q", p.Name, want, slices.Compact(said))
		}
		done <- err
	}()
	return done
}

func deletePod(t *testing.T, p corev1.Pod) {
	t.Helper()
	if err := bed.kube.CoreV1().Pods(p.Namespace).Delete(t.Context(), p.Name, metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
}

// waitReplaced waits until these pods are gone and all Deployments are whole.
func waitReplaced(t *testing.T, gone ...corev1.Pod) {
	t.Helper()
	waitFor(t, goneLimit, "pods are replaced", func(ctx context.Context) (string, bool) {
		pods, err := bed.kube.CoreV1().Pods(systemNamespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err.Error(), false
		}
		var waiting []string
		for _, p := range pods.Items {
			if slices.ContainsFunc(gone, func(g corev1.Pod) bool { return g.UID == p.UID }) {
				waiting = append(waiting, p.Name+" is still there")
			}
		}
		deployments, err := bed.kube.AppsV1().Deployments(systemNamespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err.Error(), false
		}
		for _, d := range deployments.Items {
			if !whole(d) {
				waiting = append(waiting, d.Name+" is not whole")
			}
		}
		return strings.Join(waiting, ", "), len(waiting) == 0
	})
}

func whole(d appsv1.Deployment) bool {
	return d.Status.ObservedGeneration >= d.Generation && d.Status.AvailableReplicas == *d.Spec.Replicas && d.Status.Replicas == *d.Spec.Replicas
}

// While NATS is away readers answer from memory, nobody is taken out of service,
// and a start gets 503. When it is back, with what its volume kept, all goes on.
func (i *installation) natsIsAway(t *testing.T) {
	r := i.start(t)
	under(t, []*reader{i.sessionReader("the gateway's Service", i.gateway, r.SessionID)}, func() {
		scaleNATS(t, 0)
		i.waitReadiness(t, "degraded", false)
		i.waitAlive(t, r, http.StatusOK)
		_, err := i.api.Start(t.Context(), map[string]any{"image": bed.sandboxImage, "session_id": "deploy-never", "environment": map[string]any{}})
		if client.StatusOf(err) != http.StatusServiceUnavailable {
			t.Errorf("start without NATS: %v, want 503", err)
		}
		scaleNATS(t, 1)
		i.waitReadiness(t, "ok", true)
	})
	i.stop(t, r)
}

func scaleNATS(t *testing.T, replicas int32) {
	t.Helper()
	_, err := bed.kube.AppsV1().StatefulSets(systemNamespace).UpdateScale(t.Context(), "nats", &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{Name: "nats", Namespace: systemNamespace},
		Spec:       autoscalingv1.ScaleSpec{Replicas: replicas},
	}, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}
