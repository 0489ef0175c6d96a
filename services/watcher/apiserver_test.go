//go:build apiserver

package watcher_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/run"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
	"github.com/sandbar-io/sandbar/services/watcher"
	"github.com/sandbar-io/sandbar/services/watcher/internal/testbed"
)

// childVar makes the test's own binary a watcher, so that it can be killed.
const childVar = "SANDBAR_TEST_WATCHER"

func TestMain(m *testing.M) {
	if os.Getenv(childVar) != "" {
		os.Exit(run.Main("watcher", os.Environ(), os.Stderr, watcher.Run))
	}
	// Idle connections to the API server stay in client-go's cache.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("golang.org/x/net/http2.(*ClientConn).readLoop"))
}

// stage is a namespace, a NATS server, and watchers between the two.
type stage struct {
	t     *testing.T
	k8s   *testbed.Cluster
	nats  *testbed.Server
	conn  *natsx.Conn
	store *views.Store
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, k8s: testbed.NewCluster(t), nats: testbed.NewServer(t)}
	s.conn = s.nats.Connect()
	s.store = views.NewStore(s.conn.JS, testbed.Sealer(t), 0)
	return s
}

// process is one watcher.
type process struct {
	cmd    *exec.Cmd
	port   int
	dead   chan struct{}
	output *bytes.Buffer
}

// watcher starts a watcher as a process of its own; env overrides.
func (s *stage) watcher(env ...string) *process {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	p := &process{port: l.Addr().(*net.TCPAddr).Port, dead: make(chan struct{}), output: &bytes.Buffer{}}
	if err := l.Close(); err != nil {
		s.t.Fatal(err)
	}
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Stderr = p.output
	p.cmd.Env = append(os.Environ(), append([]string{
		childVar + "=1", "KUBECONFIG=" + os.Getenv(testbed.KubeconfigVar), "NAMESPACE=" + s.k8s.Namespace,
		"LEASE_NAMESPACE=" + s.k8s.Namespace, "NATS_URL=" + s.nats.URL(), "VIEW_SEALING_KEY=" + testbed.SealingKey,
		"HEALTH_PORT=" + strconv.Itoa(p.port), "READINESS_GRACE=0s", "RESYNC=2s",
		"LEASE_DURATION=2s", "LEASE_RENEW=1s", "LEASE_RETRY=100ms",
	}, env...)...)
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		defer close(p.dead)
		_ = p.cmd.Wait() // it is killed, one way or another
	}()
	s.t.Cleanup(func() {
		p.kill()
		if s.t.Failed() {
			s.t.Logf("watcher on port %d:\n%s", p.port, p.output)
		}
	})
	return p
}

// kill ends it by SIGKILL.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may be dead
	<-p.dead
}

type readiness struct {
	Status, Role, Kubernetes, NATS, Detail string
	ViewsComplete                          bool `json:"views_complete"`
	Code                                   int  `json:"-"`
}

// state asks for its readiness; the zero value while it does not answer.
func (p *process) state() (out readiness) {
	r, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/readiness", p.port))
	if err != nil {
		return out
	}
	defer func() { _ = r.Body.Close() }()
	if json.NewDecoder(r.Body).Decode(&out) != nil {
		return readiness{}
	}
	out.Code = r.StatusCode
	http.DefaultClient.CloseIdleConnections()
	return out
}

func (p *process) leads() bool { return p.state().Role == "leader" }

// bucket waits until there is one: what is started before is restored, not
// requested.
func (s *stage) bucket() {
	s.t.Helper()
	testbed.Eventually(s.t, "the streams are made", func() bool {
		_, err := s.conn.JS.Stream(s.t.Context(), contract.EventStream) // the last one
		return err == nil
	})
}

func (s *stage) view(r *sandbox.Record) *sandbox.View {
	p, err := s.store.Read(s.t.Context(), testbed.Key(r))
	if err != nil {
		return nil // no bucket yet, or NATS is away
	}
	return p.View
}

// eventually waits until a record's view has a status, at its generation.
func (s *stage) eventually(r *sandbox.Record, status sandbox.Status) {
	s.t.Helper()
	testbed.Eventually(s.t, fmt.Sprintf("%s is %s", r.SessionID, status), func() bool {
		v := s.view(r)
		return v != nil && v.Generation == r.Generation && v.Status == status
	})
}

// events are the types of a sandbox's events. Whatever else holds, each must be
// there once and in order.
func (s *stage) events(r *sandbox.Record) []sandbox.EventType {
	s.t.Helper()
	var out []sandbox.EventType
	last := int64(0)
	for _, m := range testbed.Events(s.t, s.conn, "acme") {
		d, err := contract.DecodeEvent(m.Data())
		if err != nil {
			s.t.Fatal(err)
		}
		if d.RuntimeID != r.RuntimeID {
			continue
		}
		if d.Number != last+1 && d.Type != sandbox.EventRestored {
			s.t.Errorf("event %d of %s follows %d", d.Number, r.SessionID, last)
		}
		last = d.Number
		out = append(out, d.Type)
	}
	return out
}

func (s *stage) wantEvents(r *sandbox.Record, want ...sandbox.EventType) {
	s.t.Helper()
	testbed.Eventually(s.t, fmt.Sprintf("events %v of %s", want, r.SessionID), func() bool {
		return len(s.events(r)) >= len(want)
	})
	if got := s.events(r); !slices.Equal(got, want) {
		s.t.Errorf("events of %s: %v, want %v", r.SessionID, got, want)
	}
}

// follow runs what a gateway holds for the rest of the test.
func (s *stage) follow() *views.Follower {
	conn := s.nats.Connect()
	f := views.NewFollower(conn.JS, testbed.Sealer(s.t).Open, testLog)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = f.Run(ctx) }) // ends with ctx
	s.t.Cleanup(func() { cancel(); wg.Wait() })
	return f
}

// settled waits until no more events come for a while.
func (s *stage) settled() {
	s.t.Helper()
	count, since := -1, time.Now()
	testbed.Eventually(s.t, "events come to an end", func() bool {
		if n := len(testbed.Events(s.t, s.conn, "acme")); n != count {
			count, since = n, time.Now()
		}
		return time.Since(since) > 2*time.Second
	})
}
