package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sandbar-io/sandbar/services/provisioner/internal/cluster"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/objects"
)

// lister is an API server with one pod of each record, named by the number of the LIST
// that shows it. Each LIST waits until it is let go.
type lister struct {
	records []string
	let     chan struct{}
	letGo   func()
	refuse  atomic.Bool

	mu              sync.Mutex
	lists, now, max int
}

func (l *lister) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	l.lists++
	l.now++
	nth := l.lists
	l.max = max(l.max, l.now)
	l.mu.Unlock()
	<-l.let
	l.mu.Lock()
	l.now--
	l.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if l.refuse.Load() {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"no right"}`)
		return
	}
	sel, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	var items []string
	for _, record := range l.records {
		if sel.Matches(labels.Set{"sandbar.io/component": "sandbox", "sandbar.io/record": record}) {
			items = append(items, fmt.Sprintf(`{"metadata":{"name":"list-%d","labels":{"sandbar.io/record":%q}}}`, nth, record))
		}
	}
	fmt.Fprintf(w, `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"%d"},"items":[%s]}`, nth, strings.Join(items, ","))
}

func (l *lister) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lists
}

func newLister(t *testing.T, records int) (*lister, *cluster.Cluster) {
	t.Helper()
	l := &lister{let: make(chan struct{})}
	for i := range records {
		l.records = append(l.records, fmt.Sprintf("sandbox-%d", i))
	}
	l.letGo = sync.OnceFunc(func() { close(l.let) })
	srv := httptest.NewServer(l)
	t.Cleanup(srv.Close)
	t.Cleanup(l.letGo)
	own := &http.Transport{}
	t.Cleanup(own.CloseIdleConnections)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: srv.URL, QPS: -1, Transport: own})
	if err != nil {
		t.Fatal(err)
	}
	return l, cluster.New(client, nil, objects.Config{Namespace: "ns"})
}

func until(t *testing.T, what string, want int, have func() int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); have() != want; <-tick.C {
		if time.Since(begin) > 10*time.Second {
			t.Fatalf("%d %s, want %d", have(), what, want)
		}
	}
}

// Many who look at once are answered by few LISTs, each with its own pods, and nobody
// by one that began before it asked.
func TestLooksAreDoneTogether(t *testing.T) {
	t.Parallel()
	const atOnce, looks = 3, 3 + 64 + 10
	l, c := newLister(t, looks)
	var all sync.WaitGroup
	ask := func(i int, before int) {
		all.Go(func() {
			pods, order, err := c.Pods(t.Context(), l.records[i])
			if err != nil || len(pods) != 1 || pods[0].Record != l.records[i] {
				t.Errorf("%s has %+v, %v", l.records[i], pods, err)
				return
			}
			if nth := pods[0].Name; nth != fmt.Sprintf("list-%d", order) || int(order) <= before {
				t.Errorf("%s is answered by %s of order %d, %d had begun before", l.records[i], nth, order, before)
			}
		})
	}
	for i := range atOnce {
		ask(i, 0)
	}
	until(t, "lists", atOnce, l.count)
	for i := atOnce; i < looks; i++ {
		ask(i, atOnce)
	}
	until(t, "looks that wait", looks-atOnce, c.WaitingLooks)
	l.letGo()
	all.Wait()
	if l.lists != atOnce+2 || l.max != atOnce {
		t.Errorf("%d lists for %d looks, %d at once; want %d, two of them for those that waited, and %d at once", l.lists, looks, l.max, atOnce+2, atOnce)
	}
}

// Who gives up is let go at once; the others are answered all the same.
func TestALookThatIsGivenUp(t *testing.T) {
	t.Parallel()
	l, c := newLister(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, _, err := c.Pods(ctx, l.records[0])
		first <- err
	}()
	until(t, "lists", 1, l.count)
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up is told %v", err)
	}
	if _, _, err := c.Pods(ctx, l.records[0]); !errors.Is(err, context.Canceled) || l.count() != 1 {
		t.Errorf("who has no time is told %v, %d lists", err, l.count())
	}
	l.letGo()
	if pods, _, err := c.Pods(t.Context(), l.records[1]); err != nil || len(pods) != 1 {
		t.Errorf("the next finds %+v, %v", pods, err)
	}
}

// A LIST that fails has failed for all that it is for.
func TestALookThatFails(t *testing.T) {
	t.Parallel()
	l, c := newLister(t, 8)
	l.refuse.Store(true)
	l.letGo()
	var all sync.WaitGroup
	for _, record := range l.records {
		all.Go(func() {
			if pods, _, err := c.Pods(t.Context(), record); err == nil || !strings.Contains(err.Error(), "no right") {
				t.Errorf("%s has %+v, %v", record, pods, err)
			}
		})
	}
	all.Wait()
	l.refuse.Store(false)
	if pods, _, err := c.Pods(t.Context(), l.records[0]); err != nil || len(pods) != 1 {
		t.Errorf("afterwards it has %+v, %v", pods, err)
	}
}
