package command_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/gateway/internal/admission"
	"github.com/sandbar-io/sandbar/services/gateway/internal/command"
)

// Gateways hear of each other's tenants over the bus, and of nothing that is malformed.
func TestGatewaysHearOfEachOther(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	startProvisioner(t, srv.ClientURL(), func(_ int, d delivery) *contract.Reply { return refuse(d.command, sandbox.CodeInvalid) })
	const most = 64
	one := func() (*command.Sender, prometheus.Gatherer, *natsx.Conn) {
		gate, metrics := admission.New(admission.Limits{Total: most, Waiting: 99, Paced: true}), prometheus.NewRegistry()
		gate.Register(metrics)
		conn := connect(t, srv.ClientURL())
		s, err := command.New(conn, newMemory(), newSealer(t), always, gate, zap.NewNop(), fast)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		return s, metrics, conn
	}
	sends, _, _ := one()
	hears, metrics, conn := one()
	flush := func(nc *nats.Conn) {
		t.Helper()
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	flush(conn.Conn) // it listens
	bus, err := nats.Connect(srv.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bus.Close)
	told, err := bus.SubscribeSync(contract.PaceSubject)
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.Publish(contract.PaceSubject, []byte(`{"gateway":"a.b","tenant":"third"}`)); err != nil {
		t.Fatal(err)
	}
	flush(bus)
	flush(conn.Conn)
	_, _ = hears.Do(t.Context(), start("s"), command.Origin{})
	for range 20 {
		if n := places(t, metrics); n != most {
			t.Fatalf("%v go of the only tenant", n)
		}
		<-time.After(10 * time.Millisecond)
	}
	another := start("s")
	another.Tenant = "another"
	_, _ = sends.Do(t.Context(), another, command.Origin{})
	for end := time.Now().Add(10 * time.Second); places(t, metrics) == most; <-time.After(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a gateway does not know of another one's tenant")
		}
	}
	for tenants := map[string]bool{}; len(tenants) < 2; {
		m, err := told.NextMsg(10 * time.Second)
		if err != nil {
			t.Fatalf("only %v is told: %v", tenants, err)
		}
		if p, err := contract.DecodePace(m.Data); err == nil {
			tenants[p.Tenant] = true
		}
	}
}
