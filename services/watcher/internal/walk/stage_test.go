//go:build apiserver && failpoints

package walk_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
	"github.com/sandbar-io/sandbar/services/watcher/internal/testbed"
)

// stage is a namespace, a NATS server, and two watchers between them.
type stage struct {
	t     *testing.T
	k8s   *testbed.Cluster
	nats  *testbed.Server
	conn  *natsx.Conn
	store *views.Store
	once  string
	many  int // faults
}

func newStage(t *testing.T, faults []string) *stage {
	t.Helper()
	s := &stage{t: t, k8s: testbed.NewCluster(t), nats: testbed.NewServer(t), once: filepath.Join(t.TempDir(), "once"), many: len(faults)}
	s.conn = s.nats.Connect()
	if _, err := s.conn.EnsureCommands(t.Context()); err != nil { // the provisioner's
		t.Fatal(err)
	}
	s.store = views.NewStore(s.conn.JS, testbed.Sealer(t), 0)
	env := append(os.Environ(),
		childVar+"=1", "KUBECONFIG="+os.Getenv(testbed.KubeconfigVar), "NAMESPACE="+s.k8s.Namespace,
		"LEASE_NAMESPACE="+s.k8s.Namespace, "NATS_URL="+s.nats.URL(), "VIEW_SEALING_KEY="+testbed.SealingKey,
		"HEALTH_PORT=0", "READINESS_GRACE=0s", "RESYNC=2s",
		// Drift has to last for 4 s under one leader: shorter leases are lost too often
		// on a slow machine. A hang is longer than a lease.
		"LEASE_DURATION=6s", "LEASE_RENEW=5s", "LEASE_RETRY=100ms", "SANDBAR_FAILPOINT_HANG=7s",
		"SANDBAR_FAILPOINT="+strings.Join(faults, ","), "SANDBAR_FAILPOINT_ONCE="+s.once)
	stop := make(chan struct{})
	var slots sync.WaitGroup
	for i := range 2 {
		slots.Go(func() { s.keep(i, env, stop) })
	}
	t.Cleanup(func() { close(stop); slots.Wait() })
	return s
}

// keep keeps a watcher running until stop is closed, and then kills it.
func (s *stage) keep(slot int, env []string, stop chan struct{}) {
	for life := 1; ; life++ {
		var output bytes.Buffer
		cmd := exec.Command(os.Args[0])
		cmd.Stderr, cmd.Env = &output, env
		if err := cmd.Start(); err != nil {
			s.t.Errorf("start a watcher: %v", err)
			return
		}
		dead := make(chan struct{})
		go func() {
			defer close(dead)
			_ = cmd.Wait() // it is killed, one way or another
		}()
		over := false
		select {
		case <-dead:
		case <-stop:
			over = true
			_ = cmd.Process.Kill() // it may have died this moment
			<-dead
		}
		if s.t.Failed() {
			s.t.Logf("watcher %d, life %d:\n%s", slot, life, &output)
		}
		if over {
			return
		}
		if life > s.many && !s.t.Failed() {
			s.t.Errorf("watcher %d ended for another reason than a fault:\n%s", slot, &output)
			return
		}
	}
}

// hits is how many of the faults have come.
func (s *stage) hits() (n int) {
	for i := range s.many {
		name := s.once
		if i > 0 {
			name = fmt.Sprintf("%s.%d", name, i+1)
		}
		if _, err := os.Stat(name); err == nil {
			n++
		}
	}
	return n
}

// bucket waits until there is one: what is started before is restored, not
// requested.
func (s *stage) bucket() {
	s.t.Helper()
	testbed.Eventually(s.t, "the streams are made", func() bool {
		_, err := s.conn.JS.Stream(s.t.Context(), contract.EventStream) // the last one
		return err == nil
	})
}

// complete reports whether the last heartbeat says so.
func (s *stage) complete() bool {
	kv, err := s.conn.JS.KeyValue(s.t.Context(), contract.ViewBucket)
	if err != nil {
		return false
	}
	e, err := kv.Get(s.t.Context(), contract.HeartbeatKey)
	if err != nil {
		return false
	}
	h, err := contract.DecodeHeartbeat(e.Value())
	return err == nil && h.Complete
}

// eventually waits until a record's view has a status, at its generation.
func (s *stage) eventually(r *sandbox.Record, status sandbox.Status) {
	s.t.Helper()
	testbed.Eventually(s.t, fmt.Sprintf("%s is %s", r.SessionID, status), func() bool {
		p, err := s.store.Read(s.t.Context(), testbed.Key(r))
		return err == nil && p.View != nil && p.View.Generation == r.Generation && p.View.Status == status
	})
}

// settled waits until no more events come for a while.
func (s *stage) settled() {
	s.t.Helper()
	count, since := -1, time.Now()
	testbed.Eventually(s.t, "events come to an end", func() bool {
		if n := len(testbed.Events(s.t, s.conn, "acme")); n != count {
			count, since = n, time.Now()
		}
		return time.Since(since) > time.Second
	})
}
