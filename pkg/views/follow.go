package views

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

const (
	// checkEvery is how often the bucket's creation time and last sequence are
	// looked at: a watch of a bucket that was made anew, or whose consumer is
	// gone, stays silent without an error.
	checkEvery = time.Second
	// silentAfter is how long a watch may bring nothing, not even the leader's
	// heartbeat, while the bucket holds what it has not brought, before the
	// watch is made again. Longer than one check, shorter than two.
	silentAfter = 1500 * time.Millisecond
	// ReadIndexTimeout bounds a read index.
	ReadIndexTimeout = 250 * time.Millisecond
	retryEvery       = 200 * time.Millisecond
)

// Follower keeps a Memory equal to the bucket.
type Follower struct {
	js   jetstream.JetStream
	log  *zap.Logger
	open func(*sandbox.View) error
	mem  *Memory
	now  func() time.Time

	mu       sync.Mutex
	created  time.Time // of the bucket that position and complete are about
	position uint64    // all up to here is in memory
	complete bool      // memory holds a complete bucket's contents, of created
	ever     bool      // it held one once
	// unreadable counts the bucket's views that cannot be read.
	unreadable int
	beat       contract.Heartbeat
	beatAt     time.Time // when it came
	moved      chan struct{}

	index indexer
}

// NewFollower returns a follower; open unseals a view's key and may be nil.
func NewFollower(js jetstream.JetStream, open func(*sandbox.View) error, log *zap.Logger) *Follower {
	f := &Follower{js: js, log: log, open: open, mem: NewMemory(), now: time.Now, moved: make(chan struct{})}
	f.index.ask = f.streamInfo
	return f
}

// Memory is what it keeps.
func (f *Follower) Memory() *Memory { return f.mem }

// Run follows the bucket until ctx ends.
func (f *Follower) Run(ctx context.Context) error {
	told := ""
	for {
		err := f.session(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if text := err.Error(); text != told { // not five lines a second while NATS is away
			f.log.Info("the watch of the views is made again", zap.Error(err))
			told = text
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryEvery):
		}
	}
}

// session is one watch, of one creation of the bucket. It loads the bucket into
// a staging memory and swaps once that is complete.
func (f *Follower) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	created, last, err := f.streamInfo(ctx)
	if err != nil {
		return err
	}
	kv, err := f.js.KeyValue(ctx, contract.ViewBucket)
	if err != nil {
		return fmt.Errorf("open the bucket: %w", err)
	}
	w, err := kv.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("watch the bucket: %w", err)
	}
	defer func() { _ = w.Stop() }() // the connection may be gone
	s := &load{f: f, created: created, target: NewMemory(), position: last, unreadable: map[string]struct{}{}}
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	heard, due := f.now(), last // due: what the watch must have brought by the next check
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-w.Updates():
			if !ok {
				return errors.New("the watch ended")
			}
			heard = f.now()
			s.take(e)
		case <-tick.C:
			now, last, err := f.streamInfo(ctx)
			switch {
			case err != nil:
				if errors.Is(err, jetstream.ErrStreamNotFound) {
					return err
				}
				heard = f.now() // nothing can be heard while NATS is away
			case !now.Equal(created):
				return errors.New("the bucket was made anew")
			case f.now().Sub(heard) > silentAfter && (!s.loaded || due > s.position):
				return errors.New("the watch is silent")
			}
			due = last
		}
	}
}

// load is the state of one session.
type load struct {
	f        *Follower
	created  time.Time
	target   *Memory // the staging memory, then the real one
	loaded   bool    // the initial values are in
	swapped  bool
	position uint64
	beat     contract.Heartbeat
	// unreadable are the keys whose value cannot be read: their sandboxes exist,
	// but memory does not hold them, so nothing that it lacks is confirmed.
	unreadable map[string]struct{}
}

func (s *load) take(e jetstream.KeyValueEntry) {
	f := s.f
	if e == nil {
		s.loaded = true
	} else {
		s.position = max(s.position, e.Revision())
		s.apply(e)
	}
	if !s.loaded {
		return
	}
	complete := s.beat.Complete && s.beat.Created.Equal(s.created)
	if !s.swapped && complete {
		f.mem.Replace(s.target, s.position)
		s.target, s.swapped = f.mem, true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.swapped {
		f.created, f.position, f.complete, f.ever = s.created, s.position, true, true
		f.unreadable = len(s.unreadable)
		close(f.moved)
		f.moved = make(chan struct{})
	}
}

func (s *load) apply(e jetstream.KeyValueEntry) {
	f := s.f
	if e.Key() == contract.HeartbeatKey {
		h, err := contract.DecodeHeartbeat(e.Value())
		if err != nil {
			f.log.Warn("a heartbeat cannot be read", zap.Error(err))
			return
		}
		s.beat = h
		f.mu.Lock()
		f.beat, f.beatAt = h, f.now()
		f.mu.Unlock()
		return
	}
	delete(s.unreadable, e.Key())
	if e.Operation() != jetstream.KeyValuePut {
		s.target.Delete(e.Key(), e.Revision(), f.now())
		return
	}
	v, err := contract.DecodeView(e.Key(), e.Value())
	if err == nil && f.open != nil {
		err = f.open(v)
	}
	if err != nil {
		f.log.Warn("a view cannot be read", zap.Error(err))
		if _, _, ours := contract.ParseViewKey(e.Key()); ours {
			s.unreadable[e.Key()] = struct{}{}
		}
		return
	}
	s.target.Merge(v, e.Revision())
}

func (f *Follower) streamInfo(ctx context.Context) (created time.Time, last uint64, err error) {
	s, err := f.js.Stream(ctx, contract.ViewStream)
	if err != nil {
		return time.Time{}, 0, fmt.Errorf("ask for the bucket's state: %w", err)
	}
	info := s.CachedInfo()
	return info.Created, info.State.LastSeq, nil
}

// ReadIndex returns nil once memory holds all that was in the bucket when it was
// called. Otherwise, after ReadIndexTimeout at most, it returns an error of
// CodeUnavailable: what memory does not hold may exist.
func (f *Follower) ReadIndex(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ReadIndexTimeout)
	defer cancel()
	at, err := f.index.get(ctx)
	if err != nil {
		return sandbox.Wrap(err, sandbox.CodeUnavailable, "the state of sandboxes cannot be confirmed now, try again")
	}
	for {
		f.mu.Lock()
		ok := f.complete && f.created.Equal(at.created) && f.position >= at.last && f.unreadable == 0
		moved := f.moved
		f.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return sandbox.Wrap(ctx.Err(), sandbox.CodeUnavailable, "the state of sandboxes cannot be confirmed now, try again")
		}
	}
}

// Status is what readiness tells of a follower.
type Status struct {
	Ready     bool          // it once held a complete bucket
	Age       time.Duration // since the last heartbeat came
	Leader    string
	Sandboxes int
}

// Status returns the present one.
func (f *Follower) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := Status{Ready: f.ever, Leader: f.beat.Leader, Sandboxes: f.mem.Len(), Age: -1}
	if !f.beatAt.IsZero() {
		s.Age = f.now().Sub(f.beatAt)
	}
	return s
}
