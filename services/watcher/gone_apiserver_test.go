//go:build apiserver

package watcher_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// askedWithin is how soon a pod that went is asked for: no drift is called one in
// the first 3 s of a record, it must last 1 s, and the machine may be busy.
const askedWithin = 10 * time.Second

// beginning is how long a watcher that has just come looks at all keys: one of these
// looks would find the pod gone.
const beginning = 5 * time.Second

// TestAPodThatGoesIsAskedForAtOnce: the watch tells of it, and not the next
// comparison with a list, which is an hour away here.
func TestAPodThatGoesIsAskedForAtOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	queue, err := s.conn.EnsureCommands(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Whole before a watcher sees it: where a pod was missed once there is a look to
	// come, which would find it gone.
	r := s.k8s.Start("taken")
	pod := s.k8s.MakePod(r)
	s.k8s.SetReady(pod, true)
	s.watcher("RESYNC=1h")
	s.bucket()
	s.eventually(r, sandbox.StatusRunning)
	<-time.After(beginning)
	s.k8s.RemovePod(pod)
	begin := time.Now()
	m, err := queue.Next(jetstream.FetchMaxWait(askedWithin))
	if err != nil {
		t.Fatalf("nobody asks for the pod within %s: %v", askedWithin, err)
	}
	t.Logf("asked for after %s", time.Since(begin).Round(10*time.Millisecond))
	c, err := contract.DecodeCommand(m.Subject(), m.Data())
	if err != nil || c.Verb != sandbox.Reconcile || c.RuntimeID != r.RuntimeID || c.Generation != r.Generation {
		t.Errorf("%+v, %v", c, err)
	}
}
