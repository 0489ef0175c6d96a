// Package bucket takes care of the bucket of views as a whole: that it is there,
// that it is complete, that no key is in it without a record, and that readers
// hear that somebody does so.
package bucket

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/failpoint"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

const (
	// beatEvery is how often the heartbeat is written and the bucket looked at.
	beatEvery = time.Second
	// retryEvery is how soon a pass or a watch that failed is begun again.
	retryEvery = time.Second
)

// Records are what should be in the bucket.
type Records interface {
	Refresh(ctx context.Context) error // then nothing is shown that is older than the call
	Keys() []string
	ListObjects(ctx context.Context) error
}

// Observer looks at single keys.
type Observer interface {
	Pass(ctx context.Context, created time.Time, keys []string, present map[string]struct{}) error
	EnqueueAll(keys []string, within time.Duration)
	Foreign(key string, revision uint64, deleted bool)
}

// Events is what is known of the events' stream.
type Events interface{ Reset() }

// Beater writes the heartbeat.
type Beater interface {
	Beat(ctx context.Context, h contract.Heartbeat) error
}

// Witness knows what time counts against nobody. It is told of each heartbeat
// that was written, and keeps over terms what the heartbeats carry.
type Witness interface {
	Begun() bool
	Begin(last time.Time, gaps []sandbox.Gap)
	Beat()
	Gaps() []sandbox.Gap
}

// Guard is the care of one term of leadership.
type Guard struct {
	JS       jetstream.JetStream
	Ensure   func(context.Context) error // makes the streams, or brings them to their form
	Remake   func(context.Context) error // makes the bucket anew, empty
	Beats    Beater
	Witness  Witness
	Records  Records
	Observer Observer
	Events   Events
	Identity string
	Resync   time.Duration
	Log      *zap.Logger

	complete atomic.Bool
	wake     chan struct{} // a turn is due before its time
	ensured  bool
	failing  bool
	past     past
	events   time.Time // when the events' stream was made
}

// Complete reports whether the present bucket holds all views.
func (g *Guard) Complete() bool { return g.complete.Load() }

// Run cares until ctx ends.
func (g *Guard) Run(ctx context.Context) {
	defer g.complete.Store(false)
	g.wake = make(chan struct{}, 1)
	reconnected, done := natsx.Reconnected(g.JS.Conn())
	defer done()
	var s *session
	defer func() { s.stop() }()
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		var err error
		if s, err = g.turn(ctx, s); ctx.Err() == nil {
			g.report(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-reconnected:
		case <-g.wake:
		}
	}
}

// turn is one beat. A bucket of another creation time begins a new session.
func (g *Guard) turn(ctx context.Context, s *session) (*session, error) {
	created, err := g.find(ctx)
	if err != nil {
		return s, err
	}
	if s == nil || !s.created.Equal(created) {
		s.stop()
		g.complete.Store(false)
		s = g.begin(ctx, created)
	}
	if err := g.takeOver(ctx, s); err != nil {
		return s, err
	}
	g.complete.Store(s.complete.Load())
	err = g.Beats.Beat(ctx, contract.Heartbeat{
		Leader: g.Identity, Time: time.Now().UTC(), Complete: s.complete.Load(), Created: created, Gaps: g.Witness.Gaps(),
	})
	if err = failpoint.After(ctx, "watcher/after-heartbeat", err); err == nil {
		g.Witness.Beat()
	}
	return s, err
}

// takeOver reads what the leader before said, until nothing more is to be learned
// of it. Nothing may be written over it before.
func (g *Guard) takeOver(ctx context.Context, s *session) error {
	if s.complete.Load() && g.Witness.Begun() {
		return nil
	}
	h, err := g.lastBeat(ctx)
	if err != nil {
		return err
	}
	if h.Complete && h.Created.Equal(s.created) {
		s.complete.Store(true)
	}
	if !g.Witness.Begun() {
		g.Witness.Begin(h.Time, h.Gaps)
	}
	return nil
}

// find returns the creation time of the bucket, and makes what is missing.
func (g *Guard) find(ctx context.Context) (time.Time, error) {
	if !g.ensured {
		if err := g.Ensure(ctx); err != nil {
			return time.Time{}, err
		}
		g.ensured = true
	}
	infos := map[string]*jetstream.StreamInfo{}
	for _, name := range []string{contract.ActivityStream, contract.EventStream, contract.ViewStream} {
		s, err := natsx.Stream(ctx, g.JS, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			g.ensured = false
			g.Log.Warn("a stream is gone and is made anew", zap.String("stream", name))
		}
		if err != nil {
			return time.Time{}, fmt.Errorf("look at stream %s: %w", name, err)
		}
		infos[name] = s.CachedInfo()
	}
	if created := infos[contract.EventStream].Created; !created.Equal(g.events) {
		g.Events.Reset()
		g.events = created
	}
	views := infos[contract.ViewStream]
	if g.past.lost(views) {
		g.Log.Warn("the bucket is behind what it was, its store is an older one: it is made anew", zap.Uint64("sequence", views.State.LastSeq))
		if err := g.Remake(ctx); err != nil {
			return time.Time{}, err
		}
		return time.Time{}, errOlder
	}
	return views.Created, nil
}

// lastBeat is the heartbeat that stands in the bucket, the zero one where there
// is none or it cannot be understood.
func (g *Guard) lastBeat(ctx context.Context) (contract.Heartbeat, error) {
	kv, err := g.JS.KeyValue(ctx, contract.ViewBucket)
	if err != nil {
		return contract.Heartbeat{}, fmt.Errorf("open the bucket: %w", err)
	}
	e, err := kv.Get(ctx, contract.HeartbeatKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return contract.Heartbeat{}, nil
	}
	if err != nil {
		return contract.Heartbeat{}, fmt.Errorf("read the heartbeat: %w", err)
	}
	h, err := contract.DecodeHeartbeat(e.Value())
	if err != nil {
		g.Log.Warn("the heartbeat before cannot be read", zap.Error(err))
	}
	return h, nil
}

// report logs when a trouble begins and when it ends.
func (g *Guard) report(err error) {
	switch {
	case err != nil && !g.failing:
		g.Log.Warn("the bucket cannot be cared for", zap.Error(err))
	case err == nil && g.failing:
		g.Log.Info("the bucket is cared for again")
	}
	g.failing = err != nil
}

// session is what runs for one creation of the bucket.
type session struct {
	created  time.Time
	complete atomic.Bool
	cancel   context.CancelFunc
	wg       sync.WaitGroup
}

func (g *Guard) begin(ctx context.Context, created time.Time) *session {
	g.Log.Info("a bucket is taken care of", zap.Time("created", created))
	ctx, cancel := context.WithCancel(ctx)
	s := &session{created: created, cancel: cancel}
	s.wg.Go(func() { g.follow(ctx) })
	filled := make(chan struct{})
	s.wg.Go(func() { g.fill(ctx, s, filled) })
	s.wg.Go(func() { g.resync(ctx, filled) })
	return s
}

func (s *session) stop() {
	if s != nil {
		s.cancel()
		s.wg.Wait()
	}
}

// wait reports false when ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
