package robustness

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/history"
)

// tail reads a stream message by message, over restarts and losses of the server.
// It asks the stream itself: no consumer that could lose its place.
type tail struct {
	js     jetstream.JetStream
	stream string
	filter string
	take   func(epoch int64, m *jetstream.RawStreamMsg)

	epoch int64 // when the stream was made
	next  uint64
	// idle counts the times that there was nothing more.
	idle atomic.Int64
}

const (
	tailEvery = 50 * time.Millisecond
	tailLimit = 2 * time.Second // of one question
)

func (t *tail) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := t.drain(ctx); err == nil {
			t.idle.Add(1)
		}
		wait(ctx, tailEvery)
	}
}

// drain reads what there is. The stream may be made anew between two questions;
// what was read then is read again.
func (t *tail) drain(ctx context.Context) error {
	for {
		epoch, err := t.made(ctx)
		if err != nil {
			return err
		}
		if epoch != t.epoch {
			t.epoch, t.next = epoch, 1
		}
		batch, err := t.batch(ctx)
		if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return err
		}
		if again, err := t.made(ctx); err != nil || again != epoch {
			return errors.Join(err, jetstream.ErrStreamNotFound)
		}
		for _, m := range batch {
			t.take(epoch, m)
			t.next = m.Sequence + 1
		}
		if err != nil {
			return nil // nothing more
		}
	}
}

// batch is some messages from next on, and jetstream.ErrMsgNotFound where these
// are all.
func (t *tail) batch(ctx context.Context) (out []*jetstream.RawStreamMsg, err error) {
	stream, err := t.open(ctx)
	if err != nil {
		return nil, err
	}
	const most = 50
	for at := t.next; len(out) < most; at = out[len(out)-1].Sequence + 1 {
		limited, cancel := context.WithTimeout(ctx, tailLimit)
		m, err := stream.GetMsg(limited, at, jetstream.WithGetMsgSubject(t.filter))
		cancel()
		if err != nil {
			return out, err
		}
		out = append(out, m)
	}
	return out, nil
}

func (t *tail) open(ctx context.Context) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, tailLimit)
	defer cancel()
	return t.js.Stream(ctx, t.stream)
}

func (t *tail) made(ctx context.Context) (int64, error) {
	stream, err := t.open(ctx)
	if err != nil {
		return 0, err
	}
	return stream.CachedInfo().Created.UnixNano(), nil
}

func (w *world) event(epoch int64, m *jetstream.RawStreamMsg) {
	data, err := contract.DecodeEvent(m.Data)
	if err != nil { // then its number is 0, and the check says so
		data.RuntimeID = err.Error()
	}
	number, err := strconv.ParseInt(m.Header.Get(contract.HeaderCESequence), 10, 64)
	if err != nil || number != data.Number {
		data.Number = 0
	}
	w.recorder.Add(history.Entry{Event: &history.Event{
		At: w.recorder.Now(), Epoch: epoch, Sequence: m.Sequence, ID: m.Header.Get(contract.HeaderCEID),
		RuntimeID: data.RuntimeID, Number: data.Number, Type: string(data.Type), Gap: m.Header.Get("ce-gap") != "",
	}})
}

func (w *world) view(epoch int64, m *jetstream.RawStreamMsg) {
	key := strings.TrimPrefix(m.Subject, "$KV."+contract.ViewBucket+".")
	if key == contract.HeartbeatKey || len(m.Data) == 0 {
		return // the heartbeat, or a key that was deleted
	}
	var v sandbox.View
	if err := json.Unmarshal(m.Data, &v); err != nil {
		return // gateways tell of a view that they cannot read
	}
	w.recorder.Add(history.Entry{View: &history.View{
		At: w.recorder.Now(), Epoch: epoch, Sequence: m.Sequence, Key: key, RuntimeID: v.RuntimeID,
		Status: string(v.Status), Generation: v.Generation, Incarnation: v.Incarnation,
	}})
}
