//go:build system

package system_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// lookEvery is how often a balancer looks at the readiness of its replicas. It must
// have looked within the half second for which a service says that it is not ready
// and still takes connections.
const lookEvery = 50 * time.Millisecond

// balancer is one address before all replicas of a service, as a Kubernetes Service
// is: each connection goes to one that was ready when it was looked at last, and
// stays there. It tries nothing twice: what a replica does to a connection, the
// client sees.
type balancer struct {
	net.Listener
	replicas []*replica
	next     atomic.Uint64
	ctx      context.Context
	all      sync.WaitGroup
}

type replica struct {
	address, health string
	ready           atomic.Bool
}

// balance puts a balancer before the replicas of a kind.
func (r *rig) balance(t *testing.T, kind string) *balancer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	b := &balancer{Listener: l, ctx: ctx}
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		b.all.Wait()
	})
	for _, svc := range r.Of(kind) {
		one := newReplica(t, svc)
		one.look(ctx)
		b.replicas = append(b.replicas, one)
		b.all.Go(func() { one.watch(ctx) })
	}
	b.all.Go(b.accept)
	return b
}

func newReplica(t *testing.T, svc *stack.Service) *replica {
	t.Helper()
	u, err := url.Parse(svc.URL)
	if err != nil {
		t.Fatal(err)
	}
	return &replica{address: u.Host, health: svc.Health + "/readiness"}
}

func (p *replica) watch(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.look(ctx)
		}
	}
}

// probes ask by a connection of their own each time, as a kubelet does.
var probes = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}

func (p *replica) look(ctx context.Context) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.health, nil)
	if err != nil {
		p.ready.Store(false)
		return
	}
	answer, err := probes.Do(request)
	if err == nil {
		_ = answer.Body.Close() // nothing of it is read
	}
	p.ready.Store(err == nil && answer.StatusCode == http.StatusOK)
}

func (b *balancer) accept() {
	for {
		c, err := b.Accept()
		if err != nil {
			return
		}
		b.all.Go(func() { b.carry(c) })
	}
}

// pick is the next replica that is ready, nil if none is.
func (b *balancer) pick() *replica {
	from := b.next.Add(1)
	for i := range b.replicas {
		if p := b.replicas[(int(from)+i)%len(b.replicas)]; p.ready.Load() {
			return p
		}
	}
	return nil
}

func (b *balancer) carry(c net.Conn) {
	defer c.Close()
	p := b.pick()
	if p == nil {
		return
	}
	var d net.Dialer
	s, err := d.DialContext(b.ctx, "tcp", p.address)
	if err != nil {
		return // the client sees its connection end
	}
	defer s.Close()
	stop := context.AfterFunc(b.ctx, func() { _ = c.Close(); _ = s.Close() })
	defer stop()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{c, s}, {s, c}} {
		both.Go(func() {
			_, _ = io.Copy(way[1], way[0]) // either end may go
			_ = way[1].(*net.TCPConn).CloseWrite()
		})
	}
	both.Wait()
}

// client sends all to the balancer, whatever the host, each request once: a client
// library that sends a request again whose connection broke would hide that it did.
func (b *balancer) client(t *testing.T) *http.Client {
	t.Helper()
	var d net.Dialer
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return d.DialContext(ctx, network, b.Addr().String())
		},
		MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: once{transport}}
}

type once struct{ next http.RoundTripper }

func (o once) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.GetBody = nil // a body that can be read once
	if r.Body == nil || r.Body == http.NoBody {
		r.Body = io.NopCloser(strings.NewReader(""))
	}
	return o.next.RoundTrip(r)
}

// api is the gateways behind the balancer, with the stack's own key.
func (b *balancer) api(t *testing.T, r *rig) client.API {
	t.Helper()
	return client.NewAPI(b.client(t), "http://"+b.Addr().String(), r.Secrets.APIKey)
}

// TestABalancerTriesOnce: without this the rest shows nothing.
func TestABalancerTriesOnce(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var taken atomic.Int64
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			taken.Add(1)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-closed })
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	b := &balancer{Listener: front, ctx: ctx, replicas: []*replica{{address: l.Addr().String()}}}
	b.replicas[0].ready.Store(true)
	b.all.Go(b.accept)
	t.Cleanup(func() { cancel(); _ = front.Close(); b.all.Wait() })
	_, err = client.Caller{Base: "http://any", HTTP: b.client(t)}.Do(t.Context(), client.Request{Path: "/"})
	if err == nil || errors.Is(err, context.Canceled) || taken.Load() != 1 {
		t.Errorf("%v after %d connections", err, taken.Load())
	}
}
