package reach

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
	"k8s.io/client-go/util/workqueue"

	"github.com/sandbar-io/sandbar/pkg/obs"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

const (
	// workers ask at the same time, and slow ones at most those that have failed
	// for a while. Where the controller is down each waits for its timeout: a
	// thousand sandboxes that start are then asked every five minutes, and one that
	// is new at once.
	workers = 64
	slow    = 16
	// slowAgain is when a route is looked at again that had to wait for the slow.
	slowAgain = time.Second
	// lookTimeout is that of the clients, for whom all this is done.
	lookTimeout = 5 * time.Second
	// A route that fails is asked again after minRetry, and then more and more
	// seldom. Controllers take 0.1 to 2 s to lead to a pod that is ready.
	minRetry = 250 * time.Millisecond
	maxRetry = 5 * time.Second
	// patience is how many looks may fail before the log tells of it.
	patience = 4
)

// Look asks one URL.
type Look func(ctx context.Context, url string) (sandbox.Reach, error)

// Route is what is asked: the URL of a pod's sandbox.
type Route struct {
	Incarnation int64
	RuntimeID   string
	URL         string
}

// asked is a route and what was seen of it.
type asked struct {
	route Route
	reach sandbox.Reach
	fails int
}

// Routes asks for those routes that are wanted until they answer.
type Routes struct {
	look  Look
	log   *zap.Logger
	queue workqueue.TypedRateLimitingInterface[string]

	mu     sync.Mutex
	wanted map[string]*asked // by view key

	slow chan struct{} // one for each worker that asks a route which has failed for a while
}

// New returns one that asks for nothing; Run asks.
func New(look Look, log *zap.Logger) *Routes {
	return &Routes{
		look: look, log: log, wanted: map[string]*asked{}, slow: make(chan struct{}, slow),
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[string](minRetry, maxRetry)),
	}
}

// Run asks until ctx ends. told is told the key of each route of which something
// new is known.
func (r *Routes) Run(ctx context.Context, told func(key string)) {
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for r.next(ctx, told) {
			}
		})
	}
	<-ctx.Done()
	r.queue.ShutDown()
	wg.Wait()
}

// Ask has a route asked until it answers or is dropped. Asking for what is being
// asked already changes nothing.
func (r *Routes) Ask(key string, route Route) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w := r.wanted[key]; w != nil && w.route == route {
		return
	}
	r.wanted[key] = &asked{route: route}
	r.queue.Forget(key)
	r.queue.Add(key)
}

// Seen is what is known of the route of an incarnation.
func (r *Routes) Seen(key string, incarnation int64) sandbox.Reach {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w := r.wanted[key]; w != nil && w.route.Incarnation == incarnation {
		return w.reach
	}
	return ""
}

// Drop ends the asking for a key, and forgets what was seen.
func (r *Routes) Drop(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wanted[key] != nil {
		delete(r.wanted, key)
		r.queue.Forget(key)
	}
}

func (r *Routes) next(ctx context.Context, told func(string)) bool {
	key, down := r.queue.Get()
	if down || ctx.Err() != nil {
		return false
	}
	defer r.queue.Done(key)
	route, fails, ok := r.due(key)
	if !ok {
		return true
	}
	if fails >= patience {
		select {
		case r.slow <- struct{}{}:
			defer func() { <-r.slow }()
		default:
			r.queue.AddAfter(key, slowAgain)
			return true
		}
	}
	inner, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	reach, err := r.look(inner, route.URL)
	if ctx.Err() != nil {
		return false // what was cut off says nothing
	}
	r.settle(key, route, reach, err, told)
	return true
}

// due is the route to be asked for a key, if one is, and how often it has failed.
func (r *Routes) due(key string) (Route, int, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.wanted[key]
	if w == nil || w.reach == sandbox.Reached {
		return Route{}, 0, false
	}
	return w.route, w.fails, true
}

// settle keeps what was seen, unless something else is wanted by now.
func (r *Routes) settle(key string, route Route, reach sandbox.Reach, err error, told func(string)) {
	r.mu.Lock()
	w := r.wanted[key]
	if w == nil || w.route != route {
		r.mu.Unlock()
		return
	}
	news := w.reach != reach
	w.reach = reach
	w.fails++
	fails := w.fails
	if reach != sandbox.Reached {
		r.queue.AddRateLimited(key)
	}
	r.mu.Unlock()
	if reach != sandbox.Reached && (fails == patience || fails > patience && news) {
		r.log.Warn("the public URL of a sandbox does not answer", obs.RuntimeID(route.RuntimeID),
			zap.String("url", route.URL), zap.String("code", string(reach)), zap.Error(err))
	}
	if news {
		told(key)
	}
}
