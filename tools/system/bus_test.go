//go:build system

package system_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx/natstest"
)

// bus connects as one of the stack's users.
func (r *rig) bus(t *testing.T, user string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(r.NATSURL, nats.UserInfo(user, r.Secrets.NATS[user]),
		nats.CustomInboxPrefix("_INBOX_"+user), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// queue is the state of the provisioners' consumer.
func (r *rig) queue(ctx context.Context, js jetstream.JetStream) (*jetstream.ConsumerInfo, error) {
	// Not by js.Consumer and Info: the same, and two requests.
	cons, err := js.Consumer(ctx, contract.CommandStream, contract.CommandConsumer)
	if err != nil {
		return nil, err
	}
	return cons.CachedInfo(), nil
}

// waitDrained waits until every command was handled and acknowledged.
func (r *rig) waitDrained(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	waitFor(t, "the command queue is empty", func(ctx context.Context) (string, bool) {
		info, err := r.queue(ctx, js)
		if err != nil {
			return err.Error(), false
		}
		return fmt.Sprintf("%d waiting, %d not acknowledged", info.NumPending, info.NumAckPending), info.NumPending == 0 && info.NumAckPending == 0
	})
}

// event is one message of the event stream.
type event struct {
	Type     string // ready, without the prefix
	Subject  string // runtime id
	ID       string
	Sequence string
	Data     contract.EventData
}

// events reads all events of the default tenant, from the first on, until want
// says that it has all it waits for.
func (r *rig) events(t *testing.T, want func([]event) bool) []event {
	t.Helper()
	js := r.bus(t, "subscriber")
	// The one consumer that the user may have. Removed first, it begins anew.
	if err := js.DeleteConsumer(t.Context(), contract.EventStream, "subscriber"); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		t.Fatal(err)
	}
	cons, err := js.CreateOrUpdateConsumer(t.Context(), contract.EventStream, jetstream.ConsumerConfig{
		Durable: "subscriber", FilterSubject: "sandbar.event.v1.default.>", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 1000,
	})
	if err != nil {
		t.Fatal(err)
	}
	var all []event
	waitFor(t, "all events came", func(context.Context) (string, bool) {
		batch, err := cons.FetchNoWait(500)
		if err != nil {
			return err.Error(), false
		}
		for m := range batch.Messages() {
			h := m.Headers()
			data, err := contract.DecodeEvent(m.Data())
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, event{
				Type: string(data.Type), Subject: h.Get(contract.HeaderCESubject), ID: h.Get(contract.HeaderCEID),
				Sequence: h.Get(contract.HeaderCESequence), Data: data,
			})
			if h.Get(contract.HeaderCEType) != contract.EventTypePrefix+string(data.Type) {
				t.Fatalf("event %s has the type %q outside and %q inside", m.Subject(), h.Get(contract.HeaderCEType), data.Type)
			}
			if err := m.Ack(); err != nil {
				t.Fatal(err)
			}
		}
		return fmt.Sprintf("%d events, the last: %+v", len(all), all[max(0, len(all)-6):]), want(all)
	})
	return all
}

// typesOf are the events of one sandbox, in the order in which they came.
func typesOf(all []event, runtimeID string) (types []string) {
	for _, e := range all {
		if e.Subject == runtimeID {
			types = append(types, e.Type)
		}
	}
	return types
}

// inOrder says what is wrong with the events: of each sandbox the sequences are
// 1, 2, 3 and so on, each id comes once.
func inOrder(all []event) error {
	var errs []error
	next, seen := map[string]int{}, map[string]bool{}
	for i, e := range all {
		next[e.Subject]++
		if want := fmt.Sprint(next[e.Subject]); e.Sequence != want || e.ID != e.Subject+"/"+want {
			errs = append(errs, fmt.Errorf("event %d of all: %+v, want number %s", i, e, want))
		}
		if seen[e.ID] {
			errs = append(errs, fmt.Errorf("event %s came twice", e.ID))
		}
		seen[e.ID] = true
	}
	return errors.Join(errs...)
}

// operator ends the stack's NATS and opens its store in this process, without
// the permissions that keep every user of the stack from reading all.
func (r *rig) operator(t *testing.T) jetstream.JetStream {
	t.Helper()
	if err := r.Kill("nats"); err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(natstest.Start(t, server.Options{StoreDir: r.Dir + "/nats"}).ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}
