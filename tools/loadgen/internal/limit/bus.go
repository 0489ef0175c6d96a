package limit

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Bus is what a command's way over NATS costs at the least: a publish that the
// stream acknowledges, the delivery to a consumer, and its reply. The server is
// one of its own, with a stream as the command queue is.
type Bus struct {
	ask, answer *nats.Conn
	js          jetstream.JetStream
	inbox       string
	body, reply []byte
	consuming   jetstream.ConsumeContext

	mu      sync.Mutex
	waiting map[string]chan struct{}
	next    int
}

const (
	busStream  = "LIMIT"
	busSubject = "limit.command"
	headReply  = "Limit-Reply-To"
)

// NewBus connects to a server without users. Messages have the size of body, and
// replies that of reply.
func NewBus(ctx context.Context, url string, body, reply []byte) (b *Bus, err error) {
	b = &Bus{body: body, reply: reply, waiting: map[string]chan struct{}{}}
	defer func() {
		if err != nil {
			b.Close()
		}
	}()
	if b.ask, err = nats.Connect(url); err != nil {
		return nil, fmt.Errorf("the limit's NATS: %w", err)
	}
	if b.answer, err = nats.Connect(url); err != nil {
		return nil, fmt.Errorf("the limit's NATS: %w", err)
	}
	if b.js, err = jetstream.New(b.ask); err != nil {
		return nil, err
	}
	b.inbox = nats.NewInbox()
	if _, err = b.ask.Subscribe(b.inbox+".*", b.replied); err != nil {
		return nil, err
	}
	other, err := jetstream.New(b.answer)
	if err != nil {
		return nil, err
	}
	_, err = other.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: busStream, Subjects: []string{busSubject}, Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage,
		Duplicates: 2 * time.Minute,
	})
	if err != nil {
		return nil, err
	}
	consumer, err := other.CreateOrUpdateConsumer(ctx, busStream, jetstream.ConsumerConfig{Durable: "it", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 10_000})
	if err != nil {
		return nil, err
	}
	b.consuming, err = consumer.Consume(func(m jetstream.Msg) {
		_ = b.answer.Publish(m.Headers().Get(headReply), b.reply) // who gets none counts as failed
		_ = m.Ack()
	})
	return b, err
}

// Close ends it.
func (b *Bus) Close() {
	if b.consuming != nil {
		b.consuming.Stop()
	}
	for _, c := range []*nats.Conn{b.ask, b.answer} {
		if c != nil {
			c.Close()
		}
	}
}

// Ask publishes one message and returns when its reply is here, and the stream's
// acknowledgement.
func (b *Bus) Ask(ctx context.Context) error {
	done := make(chan struct{})
	b.mu.Lock()
	b.next++
	subject := b.inbox + "." + strconv.Itoa(b.next)
	b.waiting[subject] = done
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.waiting, subject)
		b.mu.Unlock()
	}()
	m := &nats.Msg{Subject: busSubject, Data: b.body, Header: nats.Header{headReply: {subject}}}
	if _, err := b.js.PublishMsg(ctx, m, jetstream.WithMsgID(subject)); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(10 * time.Second):
		return errors.New("no reply")
	}
}

func (b *Bus) replied(m *nats.Msg) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if done := b.waiting[m.Subject]; done != nil {
		close(done)
		delete(b.waiting, m.Subject)
	}
}
