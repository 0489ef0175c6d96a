package robustness

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sandbar-io/sandbar/pkg/natsx/natstest"
	"github.com/sandbar-io/sandbar/tools/conformance/client"
)

func connected(t *testing.T) jetstream.JetStream {
	t.Helper()
	s := natstest.Start(t, server.Options{})
	nc, err := nats.Connect(s.ClientURL())
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

// TestTailOverAStreamMadeAnew: every message once and in order, those of a stream
// that was made anew from its first on, under another epoch.
func TestTailOverAStreamMadeAnew(t *testing.T) {
	t.Parallel()
	js := connected(t)
	var mu sync.Mutex
	var got []string
	epochs := map[int64]bool{}
	tl := &tail{js: js, stream: "S", filter: "a.>", take: func(epoch int64, m *jetstream.RawStreamMsg) {
		mu.Lock()
		defer mu.Unlock()
		epochs[epoch] = true
		got = append(got, string(m.Data))
	}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); tl.run(ctx) }()
	var want []string
	for life := range 2 {
		err := natstest.Again(ctx, func(ctx context.Context) error {
			_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"a.>", "b.>"}})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 120 { // more than one batch
			text := fmt.Sprintf("%d/%d", life, i)
			want = append(want, text)
			for _, subject := range []string{"a.x", "b.x"} {
				if _, err := js.Publish(ctx, subject, []byte(text)); err != nil {
					t.Fatal(err)
				}
			}
		}
		err = client.Poll(ctx, 10*time.Millisecond, 20*time.Second, func(context.Context) (string, bool) {
			mu.Lock()
			defer mu.Unlock()
			return fmt.Sprintf("%d messages, want %d", len(got), len(want)), len(got) >= len(want)
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := js.DeleteStream(ctx, "S"); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	<-ended
	if !slices.Equal(got, want) || len(epochs) != 2 {
		t.Errorf("%d epochs, got %q", len(epochs), got)
	}
}
