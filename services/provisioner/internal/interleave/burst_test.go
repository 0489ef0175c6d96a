//go:build apiserver

package interleave_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/command"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/quota"
)

// burst runs commands at once, by three provisioners in turn, and returns what
// each was told.
func (w *world) burst(t *testing.T, first uint64, commands []sandbox.Command) []command.Outcome {
	t.Helper()
	runners := make([]*command.Runner, 3)
	for i := range runners {
		runners[i] = &command.Runner{
			Cluster: w.truth, Places: quota.NewKeeper(w.truth, 0), Views: w.store,
			Route: func(_, _, runtimeID string) sandbox.Route {
				return w.config().URLs.NewRoute(runtimeID, sandbox.DefaultPorts)
			},
			Policy: sandbox.DefaultPolicy, Now: time.Now,
		}
	}
	outs := make([]command.Outcome, len(commands))
	var all sync.WaitGroup
	for i, c := range commands {
		c.ID, c.Tenant, c.Deadline = fmt.Sprint("burst-", first, "-", i), "burst", time.Now().Add(sandbox.LongestAttempt)
		all.Go(func() {
			var err error
			if outs[i], err = runners[i%len(runners)].Run(t.Context(), c, first+uint64(i)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	return outs
}

// Fifty starts at once by three provisioners, of which ten may run: ten do, forty
// are told so and leave nothing. Each time that all have stopped there is room
// for ten again.
func TestFiftyStartsOfTen(t *testing.T) {
	w := newWorld(t)
	const may, starts = 10, 50
	limits := &sandbox.Limits{Key: "key", Sandboxes: may}
	for round := range 2 {
		var commands []sandbox.Command
		for i := range starts {
			commands = append(commands, sandbox.Command{
				Verb: sandbox.Start, SessionID: fmt.Sprint("s-", round, "-", i), Limits: limits,
				Spec: &sandbox.Spec{Image: "registry.test/image:1", ResourceFactor: 1},
			})
		}
		var stops []sandbox.Command
		for i, out := range w.burst(t, uint64(1000*round+1), commands) {
			session := commands[i].SessionID
			switch {
			case out.Err == nil && out.View != nil:
				stops = append(stops, sandbox.Command{Verb: sandbox.Stop, SessionID: session, RuntimeID: out.View.RuntimeID})
			case sandbox.CodeOf(out.Err) != sandbox.CodeQuota || sandbox.MessageOf(out.Err) != "Active runtime capacity (10) is exhausted for this key; pause or stop a running sandbox before retrying":
				t.Errorf("%s: %+v", session, out)
			default:
				if rec, err := w.truth.Record(t.Context(), sandbox.RecordName("burst", session)); rec != nil || err != nil {
					t.Errorf("a refused start left %+v, %v", rec, err)
				}
			}
		}
		w.holdsOnly(t, len(stops))
		if len(stops) != may {
			t.Fatalf("%d of %d starts were accepted, want %d", len(stops), starts, may)
		}
		for i, out := range w.burst(t, uint64(1000*round+500), stops) {
			if out.Err != nil {
				t.Errorf("stop of %s: %v", stops[i].SessionID, out.Err)
			}
		}
		w.holdsOnly(t, 0)
	}
}

// holdsOnly checks that exactly so many sandboxes run, have a pod and are counted.
func (w *world) holdsOnly(t *testing.T, want int) {
	t.Helper()
	secrets, err := w.client.CoreV1().Secrets(w.ns).List(t.Context(), metav1.ListOptions{LabelSelector: kube.RecordSelector})
	must(t, err)
	running := 0
	for i := range secrets.Items {
		rec, err := kube.DecodeRecord(&secrets.Items[i])
		must(t, err)
		if rec.Desired == sandbox.Running {
			running++
		}
	}
	pods, err := w.client.CoreV1().Pods(w.ns).List(t.Context(), metav1.ListOptions{})
	must(t, err)
	l, err := w.truth.Ledger(t.Context(), "burst", "key")
	must(t, err)
	if l == nil || len(l.Places) != want || running != want || len(pods.Items) != want {
		t.Errorf("%d run, with %d pods, and the ledger is %+v; want %d", running, len(pods.Items), l, want)
	}
}
