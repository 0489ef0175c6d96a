//go:build system

package system_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sys/unix"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/faultproxy"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// three is a stack with three servers of NATS and something between each two.
type three struct {
	*rig
	between map[[2]int]*faultproxy.Proxy // from, to
}

func newThree(t *testing.T, name string) *three {
	t.Helper()
	r := &three{between: map[[2]int]*faultproxy.Proxy{}}
	t.Cleanup(func() {
		for _, p := range r.between {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	r.rig = newRig(t, name, stack.Options{
		Gateways: 2, Provisioners: 2, Watchers: 2, NATSServers: 3, Settings: []string{noPurge},
		Route: func(from, to int, address string) (string, error) {
			p, err := faultproxy.Listen(address)
			if err != nil {
				return "", err
			}
			r.between[[2]int{from, to}] = p
			return p.Address(), nil
		},
	})
	r.waitCurrent(t)
	return r
}

// streams are all, by the user that may ask for their state.
var streams = map[string]string{
	contract.CommandStream: "provisioner", contract.DeadStream: "provisioner",
	contract.ViewStream: "watcher", contract.ActivityStream: "watcher", contract.EventStream: "watcher",
}

// waitCurrent waits until every stream has a leader and two followers that have
// all that it has.
func (r *three) waitCurrent(t *testing.T) {
	t.Helper()
	for _, name := range r.NATSNames() {
		if err := r.WaitNATS(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	for stream, user := range streams {
		js := r.bus(t, user)
		waitFor(t, stream+" stands on all three", func(ctx context.Context) (string, bool) {
			c, err := clusterOf(ctx, js, stream)
			if err != nil {
				return err.Error(), false
			}
			current := slices.DeleteFunc(slices.Clone(c.Replicas), func(p *jetstream.PeerInfo) bool { return !p.Current || p.Offline })
			return fmt.Sprintf("%+v", c), c.Leader != "" && len(current) == 2
		})
	}
}

func clusterOf(ctx context.Context, js jetstream.JetStream, stream string) (*jetstream.ClusterInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	if c := s.CachedInfo().Cluster; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("%s is not replicated", stream)
}

// waitLed waits until every stream has a leader, and the queue of commands has one that
// hands them out: each of them elects its own.
func (r *three) waitLed(t *testing.T) {
	t.Helper()
	for stream := range streams {
		r.leader(t, stream)
	}
	js := r.bus(t, "provisioner")
	waitFor(t, "the commands are handed out", func(ctx context.Context) (string, bool) {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		c, err := js.Consumer(ctx, contract.CommandStream, contract.CommandConsumer)
		if err != nil {
			return err.Error(), false
		}
		led := c.CachedInfo().Cluster
		return fmt.Sprintf("%+v", led), led != nil && led.Leader != ""
	})
}

// leader is the server that leads a stream.
func (r *three) leader(t *testing.T, stream string) (name string) {
	t.Helper()
	js := r.bus(t, streams[stream])
	waitFor(t, stream+" has a leader", func(ctx context.Context) (string, bool) {
		c, err := clusterOf(ctx, js, stream)
		if err == nil {
			name = c.Leader
		}
		return fmt.Sprintf("%+v, %v", c, err), name != ""
	})
	return name
}

// set does that to all that goes between a server and the two others.
func (r *three) set(server string, m faultproxy.Mode) {
	n := slices.Index(r.NATSNames(), server)
	for ends, p := range r.between {
		if slices.Contains(ends[:], n) {
			p.Set(m)
		}
	}
}

// An election takes 4 to 9 s where a leader goes without a word: no stream has
// one till then, whatever we do. What a client sees of it is at most one command
// that takes its whole deadline, and refusals.
const (
	election = 9 * time.Second
	recovery = 5 * time.Second // to be as before, by the fault's own invariant
)

// TestThreeNATS: of three servers each may be restarted, killed, cut off, and lose
// its store. What was accepted exists once, what was stopped is gone, and changes
// are answered as before within seconds. Not parallel: it measures.
func TestThreeNATS(t *testing.T) {
	r := newThree(t, "three")
	for _, c := range []struct {
		name  string
		fault func(*testing.T)
		limit time.Duration // from the end of the fault until all is as before
	}{
		{"rolling restart", func(t *testing.T) { r.rolling(t, unix.SIGTERM) }, recovery},
		{"rolling restart of lame ducks", func(t *testing.T) { r.rolling(t, unix.SIGUSR2) }, recovery},
		{"leader of the commands killed", func(t *testing.T) { r.killed(t, contract.CommandStream) }, recovery},
		{"leader of the views killed", func(t *testing.T) { r.killed(t, contract.ViewStream) }, recovery},
		{"one server partitioned", r.partitioned, recovery},
		{"store of one wiped", r.oneWiped, recovery},
		{"store of all wiped", r.allWiped, election + recovery},
	} {
		t.Run(c.name, func(t *testing.T) {
			load := r.startAndStop(t, nonce())
			load.waitAnswers(t, 40)
			load.measure(t)
			began := time.Now()
			c.fault(t)
			r.waitLed(t)
			over := time.Now()
			load.waitAnswers(t, 20)
			load.calm(t, over, c.limit)
			load.end(t)
			load.tell(t, began)
			r.waitCurrent(t)
		})
	}
}

// rolling restarts one server after the other, gently.
func (r *three) rolling(t *testing.T, with unix.Signal) {
	for _, name := range r.NATSNames() {
		if err := r.Signal(name, with); err != nil {
			t.Fatal(err)
		}
		if err := r.waitEnded(t, name); err != nil {
			t.Fatal(err)
		}
		if err := r.StartNATSServer(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		r.waitCurrent(t)
	}
}

func (r *three) killed(t *testing.T, stream string) {
	old := r.leader(t, stream)
	if err := r.Kill(old); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	js := r.bus(t, streams[stream])
	waitFor(t, stream+" has another leader", func(ctx context.Context) (string, bool) {
		c, err := clusterOf(ctx, js, stream)
		return fmt.Sprintf("%+v, %v", c, err), err == nil && c.Leader != "" && c.Leader != old
	})
	t.Logf("%s had another leader after %s", stream, time.Since(killed).Round(10*time.Millisecond))
	if err := r.StartNATSServer(t.Context(), old); err != nil {
		t.Fatal(err)
	}
}

// partitioned cuts the leader of the commands off from both others: what is said
// between them arrives nowhere, and nothing is closed.
func (r *three) partitioned(t *testing.T) {
	old := r.leader(t, contract.CommandStream)
	r.set(old, faultproxy.HalfOpen)
	t.Cleanup(func() { r.set(old, faultproxy.Pass) })
	cut := time.Now()
	for _, api := range r.apis() {
		waitFor(t, "a start is accepted without "+old, func(ctx context.Context) (string, bool) {
			_, err := api.Start(ctx, body(t, "cut-off-"+nonce()))
			return fmt.Sprint(err), err == nil
		})
		t.Logf("%s accepted a start %s after the cut", api.Base, time.Since(cut).Round(10*time.Millisecond))
	}
	r.set(old, faultproxy.Pass)
}

func (r *three) oneWiped(t *testing.T) {
	name := r.leader(t, contract.ViewStream)
	if err := r.Kill(name); err != nil {
		t.Fatal(err)
	}
	if err := r.WipeNATS(name); err != nil {
		t.Fatal(err)
	}
	if err := r.StartNATSServer(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	r.waitCurrent(t)
}

func (r *three) allWiped(t *testing.T) {
	for _, name := range r.NATSNames() {
		if err := r.Kill(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.WipeNATS(); err != nil {
		t.Fatal(err)
	}
	if err := r.StartNATS(t.Context()); err != nil {
		t.Fatal(err)
	}
}
