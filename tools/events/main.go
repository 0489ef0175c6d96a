// Command events prints the lifecycle events of one tenant's sandboxes, one a
// line, in order, each once: what any outside service needs to follow them.
//
//	NATS_URL=… NATS_USER=subscriber NATS_PASSWORD=… [TENANT=default] go run ./events
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := follow(ctx, os.Getenv, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "events:", err)
		os.Exit(1)
	}
}

func follow(ctx context.Context, getenv func(string) string, out io.Writer) error {
	user, tenant := or(getenv("NATS_USER"), "subscriber"), or(getenv("TENANT"), "default")
	nc, err := nats.Connect(or(getenv("NATS_URL"), nats.DefaultURL), nats.UserInfo(user, getenv("NATS_PASSWORD")),
		nats.CustomInboxPrefix("_INBOX_"+user), nats.MaxReconnects(-1)) // all that the user may subscribe to
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("jetstream: %w", err)
	}
	for ctx.Err() == nil { // again, should NATS lose its store and this consumer with it
		// The user may have one consumer, of its own name. One event on its way at a time
		// keeps the order; acknowledging keeps the place over a restart.
		err = read(ctx, js, jetstream.ConsumerConfig{
			Durable: user, FilterSubject: "sandbar.event.v1." + tenant + ".>", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 1,
		}, out)
		if ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "events: again in a second:", err)
			pause(ctx, time.Second)
		}
	}
	return nil
}

func read(ctx context.Context, js jetstream.JetStream, cfg jetstream.ConsumerConfig, out io.Writer) error {
	consumer, err := js.CreateOrUpdateConsumer(ctx, "SANDBOX_EVENTS", cfg)
	if err != nil {
		return fmt.Errorf("consumer: %w", err)
	}
	for {
		event, err := consumer.Next(jetstream.FetchContext(ctx))
		if errors.Is(err, nats.ErrTimeout) {
			continue // nothing happened for half a minute
		}
		if err != nil {
			return fmt.Errorf("next: %w", err)
		}
		h := event.Headers()
		_, err = fmt.Fprintln(out, h.Get("ce-time"), h.Get("ce-type"), h.Get("ce-subject"), h.Get("ce-id"), string(event.Data()))
		// What was printed is acknowledged even if the end comes in between.
		if err = errors.Join(err, event.DoubleAck(context.WithoutCancel(ctx))); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}
