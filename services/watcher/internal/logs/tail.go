// Package logs reads the last lines of containers that failed.
package logs

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/sandbar-io/sandbar/pkg/obs"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

const (
	// MaxBytes of a log are shown.
	MaxBytes = 8 << 10
	// workers read at the same time: the API server asks the kubelet, which may
	// be slow or gone.
	workers = 4
	// readTimeout bounds one read.
	readTimeout = 5 * time.Second
	// waitFor is how long a look at a sandbox waits for its log. A client that
	// is told of the failure asks no more.
	waitFor = time.Second
	// retryAfter is how long a read that failed is not tried again.
	retryAfter = 10 * time.Second
	// maxKept bounds the memory to maxKept × MaxBytes.
	maxKept = 1024
)

// Read opens a container's log.
type Read func(ctx context.Context, pod string, previous bool) (string, error)

// instance is one run of a container: the log does not change any more once it
// has ended.
type instance struct {
	pod string // UID
	run int    // 0, 1, 2 …
}

type result struct {
	done chan struct{} // closed when the rest is set
	text string
	err  error
	at   time.Time
}

type job struct {
	id       instance
	key      string
	pod      *sandbox.Pod
	previous bool
	result   *result
}

// Tails holds what was read.
type Tails struct {
	read Read
	log  *zap.Logger
	now  func() time.Time
	jobs chan job

	mu   sync.Mutex
	kept map[instance]*result
}

// New returns an empty one; Run reads for it.
func New(read Read, log *zap.Logger) *Tails {
	return &Tails{read: read, log: log, now: time.Now, jobs: make(chan job, maxKept), kept: map[instance]*result{}}
}

// Run reads until ctx ends. ready is told the key of each log that came.
func (t *Tails) Run(ctx context.Context, ready func(key string)) {
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case j := <-t.jobs:
					t.run(ctx, j, ready)
				}
			}
		})
	}
	wg.Wait()
}

func (t *Tails) run(ctx context.Context, j job, ready func(string)) {
	inner, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	text, err := t.read(inner, j.pod.Name, j.previous)
	if apierrors.IsBadRequest(err) || apierrors.IsNotFound(err) {
		text, err = "", nil // there is none, and never will be
	}
	if err != nil {
		t.log.Warn("a log cannot be read", obs.RuntimeID(j.pod.RuntimeID), zap.Error(err))
	}
	t.mu.Lock()
	j.result.text, j.result.err, j.result.at = text, err, t.now()
	t.mu.Unlock()
	close(j.result.done)
	if err == nil {
		ready(j.key)
	}
}

// Tail returns the end of the log of a pod that failed, or false while it is not
// known; then the key is told of when it is.
func (t *Tails) Tail(ctx context.Context, key string, p *sandbox.Pod) (string, bool) {
	id, previous, ended := last(p)
	if !ended {
		return "", true
	}
	r := t.want(job{id: id, key: key, pod: p, previous: previous})
	timer := time.NewTimer(waitFor)
	defer timer.Stop()
	select {
	case <-r.done:
	case <-timer.C:
		return "", false
	case <-ctx.Done():
		return "", false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return r.text, r.err == nil
}

// want returns the result of a job, which it queues unless it is known or under
// way.
func (t *Tails) want(j job) *result {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.kept[j.id]; r != nil && !t.stale(r) {
		return r
	}
	if len(t.kept) >= maxKept {
		t.drop()
	}
	j.result = &result{done: make(chan struct{})}
	select {
	case t.jobs <- j:
		t.kept[j.id] = j.result
	default: // too many: asked again at the next look
		j.result.err = fmt.Errorf("too many logs are read")
		close(j.result.done)
	}
	return j.result
}

func (t *Tails) stale(r *result) bool {
	select {
	case <-r.done:
		return r.err != nil && t.now().Sub(r.at) > retryAfter
	default:
		return false
	}
}

// drop forgets all that is not under way; what is still wanted is read again.
func (t *Tails) drop() {
	for id, r := range t.kept {
		select {
		case <-r.done:
			delete(t.kept, id)
		default:
		}
	}
}

// last is the latest run of the container that has ended, and whether its log is
// that of the one before the present. ended is false where none has.
func last(p *sandbox.Pod) (id instance, previous, ended bool) {
	c := &p.Container
	switch {
	case c.Terminated != nil:
		return instance{p.UID, c.RestartCount}, false, true
	case c.LastTerminated == nil:
		return instance{}, false, false
	case c.Running:
		return instance{p.UID, c.RestartCount - 1}, true, true
	}
	return instance{p.UID, c.RestartCount}, true, true // waits for its next start
}
