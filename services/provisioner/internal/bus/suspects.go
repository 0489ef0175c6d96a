package bus

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// suspectWindow is how long suspects that come together are gathered, before
	// the first of them runs.
	suspectWindow = 100 * time.Millisecond
	// suspectPatience is how long the one whose turn it is may keep the others.
	// Longer, and they do not wait for it: it may hang, and they have deadlines.
	suspectPatience = 2 * time.Second
	suspectTick     = 10 * time.Millisecond
)

// suspects lets commands that were delivered before run one at a time. Whoever
// worked on one of them may have died of it, and all that it worked on at that
// moment comes again at the same moment: without a turn for each, what is
// innocent would die with the poison each time, and be given up with it. The
// order turns with each delivery, so that what came behind the poison once
// comes before it the next time.
type suspects struct {
	mu      sync.Mutex
	waiting []*suspect
	busy    bool
	moved   time.Time // when the last turn ended
}

type suspect struct {
	sequence  uint64
	delivered uint64
}

// enter waits for the turn of a command, and returns how to end it. A first
// delivery waits for nothing.
func (s *suspects) enter(ctx context.Context, sequence, delivered uint64) (leave func()) {
	if delivered < 2 {
		return func() {}
	}
	me := &suspect{sequence, delivered}
	s.mu.Lock()
	s.waiting = append(s.waiting, me)
	s.mu.Unlock()
	begin := time.Now()
	t := time.NewTicker(suspectTick)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		if mine, over := s.take(me, begin, ctx.Err() != nil); mine {
			return s.leave
		} else if over {
			return func() {}
		}
	}
}

// take gives me the turn if it is mine, and says whether me waits no more: as its
// attempt has ended, or as no turn has ended for a while.
func (s *suspects) take(me *suspect, begin time.Time, ended bool) (mine, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	mine = time.Since(begin) >= suspectWindow && !s.busy && slices.MinFunc(s.waiting, order) == me
	since := begin
	if s.moved.After(since) {
		since = s.moved
	}
	over = ended || time.Since(since) >= suspectPatience
	if mine || over {
		s.waiting = slices.DeleteFunc(s.waiting, func(x *suspect) bool { return x == me })
	}
	s.busy = s.busy || mine
	return mine, over
}

func (s *suspects) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy, s.moved = false, time.Now()
}

// order: even deliveries first, newest first; odd ones oldest first.
func order(x, y *suspect) int { return cmp.Compare(x.rank(), y.rank()) }

func (x *suspect) rank() int64 {
	if x.delivered%2 == 0 {
		return -int64(x.sequence)
	}
	return int64(x.sequence)
}
