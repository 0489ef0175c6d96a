package command

import (
	"context"
	"sync"
	"time"
)

// turnPatience is how long a command waits for another one of its record that
// hangs. Afterwards it runs beside it: compare-and-swap keeps them apart too.
const turnPatience = 2 * time.Second

// turns lets the commands of one record run one after the other, as far as they are
// in this process. Nothing rests on that: the record's compare-and-swap decides. But
// a hundred starts of one session at once would otherwise spend their time on reading
// again what another one has just moved.
type turns struct {
	mu  sync.Mutex
	all map[string]*turn // by record
}

type turn struct {
	free chan struct{} // holds one thing while somebody has the turn
	who  int           // has it or waits for it
}

// enter waits for the turn of a record, in the order of arrival, and returns how to
// end it.
func (t *turns) enter(ctx context.Context, record string) (leave func()) {
	t.mu.Lock()
	if t.all == nil {
		t.all = map[string]*turn{}
	}
	mine := t.all[record]
	if mine == nil {
		mine = &turn{free: make(chan struct{}, 1)}
		t.all[record] = mine
	}
	mine.who++
	t.mu.Unlock()
	patience := time.NewTimer(turnPatience)
	defer patience.Stop()
	held := false
	select {
	case mine.free <- struct{}{}:
		held = true
	case <-patience.C:
	case <-ctx.Done():
	}
	return func() {
		if held {
			<-mine.free
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if mine.who--; mine.who == 0 {
			delete(t.all, record)
		}
	}
}
