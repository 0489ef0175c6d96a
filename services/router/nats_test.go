package router_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/natsx/natstest"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// bus is a NATS server with the buckets, and the watcher's hand on it.
type bus struct {
	*testing.T
	server *server.Server
	conn   *natsx.Conn
	order  uint64
}

func newBus(t *testing.T) *bus {
	t.Helper()
	s := natstest.Start(t, server.Options{}).Server
	conn, err := natsx.Connect("watcher", natsx.Config{URL: s.ClientURL(), Replicas: 1}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if err := conn.EnsureViews(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &bus{T: t, server: s, conn: conn}
}

func (b *bus) bucket(name string) jetstream.KeyValue {
	b.Helper()
	kv, err := b.conn.JS.KeyValue(b.Context(), name)
	if err != nil {
		b.Fatal(err)
	}
	return kv
}

func (b *bus) put(key string, body []byte) {
	b.Helper()
	if _, err := b.bucket(contract.ViewBucket).Put(b.Context(), key, body); err != nil {
		b.Fatal(err)
	}
}

// beat says that the bucket is complete.
func (b *bus) beat() {
	b.Helper()
	stream, err := b.conn.JS.Stream(b.Context(), contract.ViewStream)
	if err != nil {
		b.Fatal(err)
	}
	body, err := json.Marshal(contract.Heartbeat{
		Leader: "watcher-1", Time: time.Now(), Complete: true, Created: stream.CachedInfo().Created,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.put(contract.HeartbeatKey, body)
}

const (
	session   = "my-session"
	runtimeID = "abcdefghijklmnop"
)

var viewKey = contract.ViewKey("default", sandbox.RecordName("default", session))

// set writes the view of the one sandbox.
func (b *bus) set(s sandbox.Status, address string) {
	b.Helper()
	b.order++
	body, err := contract.EncodeView(&sandbox.View{
		Record: sandbox.RecordName("default", session), Tenant: "default", SessionID: session, RuntimeID: runtimeID,
		Status: s, Address: address, Order: b.order, Route: sandbox.Route{Label: session},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.put(viewKey, body)
}

// activity waits until activity of the sandbox, not before a time, is told.
func (b *bus) activity(after time.Time) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
	defer cancel()
	w, err := b.bucket(contract.ActivityBucket).Watch(ctx, viewKey)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = w.Stop() }()
	for {
		select {
		case e := <-w.Updates():
			if e == nil {
				continue
			}
			var a contract.Activity
			if err := json.Unmarshal(e.Value(), &a); err != nil {
				b.Fatal(err)
			}
			if a.RuntimeID == runtimeID && !a.Last.Before(after) {
				return
			}
		case <-ctx.Done():
			b.Fatal("no activity was told")
		}
	}
}
