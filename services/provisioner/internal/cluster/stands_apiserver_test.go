//go:build apiserver

package cluster_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/cluster"
)

// A process that stood still in the middle of a command does not make the pod that the
// record wanted before: another process has stopped that sandbox, and begun the next.
func TestAPodIsMadeOfWhatStands(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "baseline")
	for name, tt := range map[string]struct {
		age   time.Duration
		moved bool
		made  bool
	}{
		"at once":                           {0, false, true},
		"at once, though it moved":          {0, true, true}, // Follow looks afterwards
		"after a while":                     {time.Minute, false, true},
		"after a while, in which it moved":  {time.Minute, true, false},
		"after AckWait, in which it moved":  {natsx.AckWait, true, false},
		"of which nobody noted when it was": {-1, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, c := w.record(name), w.cluster()
			if tt.moved {
				next := r.Clone()
				next.Generation++
				_, err := c.UpdateRecord(t.Context(), r, next)
				must(t, err)
			}
			if r.AsOf = time.Now().Add(-tt.age); tt.age < 0 {
				r.AsOf = time.Time{}
			}
			pod, err := c.CreatePod(t.Context(), r, cluster.Unseen)
			there, getErr := c.Pod(t.Context(), sandbox.PodName(r.RuntimeID, r.Incarnation))
			must(t, getErr)
			if made := pod != nil && there != nil; made != tt.made || !made && (there != nil || !errors.Is(err, cluster.ErrMoved)) {
				t.Errorf("%+v, %v, and there is %+v", pod, err, there)
			}
		})
	}
}

// slow takes longer to answer what it is asked about Secrets than a record is believed,
// and counts.
type slow struct {
	next  http.RoundTripper
	asked atomic.Int64
}

func (s *slow) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.next.RoundTrip(r)
	if strings.Contains(r.URL.Path, "/secrets") {
		s.asked.Add(1)
		<-time.After(natsx.AckWait)
	}
	return resp, err
}

// slow is the cluster over such a line.
func (w *world) slow() (*cluster.Cluster, *slow) {
	w.t.Helper()
	cfg, err := kube.ClientConfig(os.Getenv("SANDBAR_TEST_KUBECONFIG"))
	must(w.t, err)
	line := &slow{}
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { line.next = next; return line })
	client, err := kubernetes.NewForConfig(cfg)
	must(w.t, err)
	return cluster.New(client, nil, w.config()), line
}

// An API server that takes longer to answer than what it answers is believed is not asked
// for ever.
func TestASlowAPIServerIsAskedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "baseline")
	r := w.record("slow")
	r.AsOf = time.Now().Add(-time.Minute)
	c, line := w.slow()
	pod, err := c.CreatePod(t.Context(), r, cluster.Unseen)
	if n := line.asked.Load(); err != nil || pod == nil || n != 1 {
		t.Errorf("%+v, %v, the record was read %d times", pod, err, n)
	}
}

// A record is of when it was asked for, not of when the answer came: a process may stand
// still in between.
func TestARecordIsOfWhenItWasAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "baseline")
	for name, ask := range map[string]func(context.Context, *cluster.Cluster, *sandbox.Record) (*sandbox.Record, error){
		"read": func(ctx context.Context, c *cluster.Cluster, r *sandbox.Record) (*sandbox.Record, error) {
			return c.Record(ctx, r.Name)
		},
		"made": func(ctx context.Context, c *cluster.Cluster, _ *sandbox.Record) (*sandbox.Record, error) {
			return c.CreateRecord(ctx, newRecord("another"))
		},
		"swapped": func(ctx context.Context, c *cluster.Cluster, r *sandbox.Record) (*sandbox.Record, error) {
			next := r.Clone()
			next.Generation++
			return c.UpdateRecord(ctx, r, next)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := w.record(name)
			c, _ := w.slow()
			began := time.Now()
			r, err := ask(t.Context(), c, r)
			must(t, err)
			if age := time.Since(r.AsOf); age < natsx.AckWait || r.AsOf.Before(began) {
				t.Errorf("it is %s old after an answer that took %s", age, natsx.AckWait)
			}
		})
	}
}
