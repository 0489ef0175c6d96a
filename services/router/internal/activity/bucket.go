package activity

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sandbar-io/sandbar/pkg/contract"
)

// Bucket is the activity bucket. The watcher makes it. Several routers write one
// key, each what it saw itself; the reader keeps the latest time.
type Bucket struct{ JS jetstream.JetStream }

// Put writes one sandbox's activity.
func (b Bucket) Put(ctx context.Context, key string, a contract.Activity) error {
	body, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode activity: %w", err)
	}
	kv, err := b.JS.KeyValue(ctx, contract.ActivityBucket)
	if err != nil {
		return fmt.Errorf("open the activity bucket: %w", err)
	}
	if _, err := kv.Put(ctx, key, body); err != nil {
		return fmt.Errorf("write activity: %w", err)
	}
	return nil
}
