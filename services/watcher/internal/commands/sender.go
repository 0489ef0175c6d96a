// Package commands publishes the watcher's own commands.
package commands

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/failpoint"
	"github.com/sandbar-io/sandbar/pkg/obs"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/watcher/internal/meter"
)

// bucket is the time within which two watchers that see the same send one
// command: JetStream drops the second.
const bucket = 5 * time.Second

// Sender sends.
type Sender struct {
	js    jetstream.JetStream
	meter *meter.Meter
	log   *zap.Logger
}

// New returns a sender.
func New(js jetstream.JetStream, m *meter.Meter, log *zap.Logger) *Sender {
	return &Sender{js, m, log}
}

// Send publishes a command that is bound to what was seen. Nobody waits for its
// reply.
func (s *Sender) Send(ctx context.Context, c sandbox.Command, now time.Time) error {
	c.ID = sandbox.NewKey()
	subject, body, err := contract.EncodeCommand(c)
	if err != nil {
		return err
	}
	ack, err := s.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Data: body},
		jetstream.WithMsgID(messageID(c, now)), jetstream.WithExpectStream(contract.CommandStream))
	if err = failpoint.After(ctx, "watcher/after-command", err); err != nil {
		return fmt.Errorf("send %s: %w", c.Verb, err)
	}
	if ack.Duplicate {
		return nil
	}
	s.meter.Command(c.Verb)
	s.log.Info("command", zap.String("verb", string(c.Verb)), obs.Tenant(c.Tenant), obs.RuntimeID(c.RuntimeID),
		obs.CommandID(c.ID), zap.Int64("generation", c.Generation), zap.String("object_uid", c.PodUID))
	return nil
}

func messageID(c sandbox.Command, now time.Time) string {
	return fmt.Sprintf("%s/%s/%d/%s/%d", c.Verb, c.RecordUID, c.Generation, c.PodUID, now.UnixNano()/int64(bucket))
}
