package views

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/pkg/natsx"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

const (
	checkEvery = time.Second // see natsx.Follower
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
	var s *load
	before := f.index.past()
	return natsx.Follower{
		Bucket: contract.ViewBucket, CheckEvery: checkEvery, SilentAfter: silentAfter, Now: f.now,
		Begin: func(created time.Time, last uint64) {
			s = &load{f: f, created: created, target: NewMemory(), position: last, unreadable: map[string]struct{}{}}
			if before.behind(created, last) {
				s.least = before.last
				f.distrust()
			}
			f.index.seen(created, last)
		},
		Take: func(e jetstream.KeyValueEntry) { s.take(e) },
		Away: func(error) error { return nil },
	}.Run(ctx, f.js)
}

// load is the state of one session.
type load struct {
	f        *Follower
	created  time.Time
	target   *Memory // the staging memory, then the real one
	loaded   bool    // the initial values are in
	swapped  bool
	position uint64
	least    uint64 // what position must be at: the bucket was there already
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
	f.index.seen(s.created, s.position)
	complete := s.beat.Complete && s.beat.Created.Equal(s.created) && s.position >= s.least
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
	v.Transitions, v.SealedKey = nil, "" // only writers read them
	s.target.Merge(v, e.Revision())
}

// distrust confirms nothing any more: the bucket's store is an older one, and
// memory is no part of its past. The watcher makes the bucket anew.
func (f *Follower) distrust() {
	f.log.Warn("the bucket is behind what it was, what memory lacks is not confirmed")
	f.mu.Lock()
	defer f.mu.Unlock()
	f.complete = false
}

func (f *Follower) streamInfo(ctx context.Context) (created time.Time, last uint64, err error) {
	return natsx.BucketState(ctx, f.js, contract.ViewBucket)
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
