package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

const (
	// looksAtOnce is how many LISTs of a kind are under way at a time. To Kubernetes'
	// priority and fairness one over a namespace of a thousand objects and more is ten
	// requests, of the 245 that all service accounts have together on a server that is as
	// it comes.
	looksAtOnce = 3
	// looksTogether bounds the selector: a name has 34 characters.
	looksTogether = 64
)

// looks answers by one LIST whoever asks at about the same time. To list what one
// record has costs an API server a look at all that its namespace has, and a wait until
// its cache is as new as etcd; and a cache that does not become so within 3 s makes it
// read all from etcd, for each that waits. A LIST that begins after a question is as
// good an answer as one of its own.
type looks[T any] struct {
	// list returns what records have, by the record's name, and the order of the list.
	list func(ctx context.Context, records []string) (map[string][]T, uint64, error)

	mu      sync.Mutex
	running int
	waiting []*look[T] // none while running is below looksAtOnce
}

// look is one LIST and those that it is for.
type look[T any] struct {
	ctx     context.Context //nolint:containedctx // of the first who asks: its values, not its end
	records []string

	done  chan struct{}
	found map[string][]T
	order uint64
	err   error
}

// of returns what a record has, not older than the call.
func (l *looks[T]) of(ctx context.Context, record string) ([]T, uint64, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, fmt.Errorf("look at what %s has: %w", record, err)
	}
	k := l.join(ctx, record)
	select {
	case <-k.done:
		return slices.Clone(k.found[record]), k.order, k.err
	case <-ctx.Done():
		return nil, 0, fmt.Errorf("look at what %s has: %w", record, ctx.Err())
	}
}

// join finds a LIST that has not begun, or begins one.
func (l *looks[T]) join(ctx context.Context, record string) *look[T] {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.waiting); n > 0 && len(l.waiting[n-1].records) < looksTogether {
		k := l.waiting[n-1]
		if !slices.Contains(k.records, record) {
			k.records = append(k.records, record)
		}
		return k
	}
	k := &look[T]{ctx: context.WithoutCancel(ctx), records: []string{record}, done: make(chan struct{})}
	if l.running < looksAtOnce {
		l.running++
		go l.run(k)
	} else {
		l.waiting = append(l.waiting, k)
	}
	return k
}

// run lists, and goes on with what came to wait meanwhile.
func (l *looks[T]) run(k *look[T]) {
	for k != nil {
		ctx, cancel := context.WithTimeout(k.ctx, sandbox.LongestAttempt) // who waits has an end of its own
		k.found, k.order, k.err = l.list(ctx, k.records)
		cancel()
		close(k.done)
		k = l.next()
	}
}

func (l *looks[T]) next() *look[T] {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.running--
		return nil
	}
	k := l.waiting[0]
	l.waiting = slices.Delete(l.waiting, 0, 1)
	return k
}
