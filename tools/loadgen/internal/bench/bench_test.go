package bench

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/devstack/stack"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/bed"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/figure"
)

func TestEachBenchmarkIsTold(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, b := range All() {
		if seen[b.Name] || b.What == "" || b.Limit == "" {
			t.Errorf("%q: its name is there twice, or it does not say what it measures", b.Name)
		}
		seen[b.Name] = true
		if !strings.Contains(string(page), "| `"+b.Name+"` |") {
			t.Errorf("docs/performance.md has no row of %s", b.Name)
		}
	}
}

// An eye tells of a sandbox only when it is as it was waited for.
func TestEyeSeesWhatIsWaitedFor(t *testing.T) {
	t.Parallel()
	var ready atomic.Bool
	asked := make(chan struct{}, 1)
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := "running"
		if ready.Load() {
			status = "ready"
		}
		_ = json.NewEncoder(w).Encode([]*bed.Runtime{nil, {SessionID: r.URL.Query().Get("ids"), PodStatus: status}})
		select {
		case asked <- struct{}{}:
		default:
		}
	}))
	defer gateway.Close()
	ctx, cancel := context.WithCancel(t.Context())
	y := &eye{b: &bed.Bed{Stack: &stack.Stack{}, HTTP: gateway.Client()}, gateway: gateway.URL, waiting: map[string]waiter{}, wake: make(chan struct{}, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		y.look(ctx)
	}()
	seen := y.await("one", "ready")
	<-asked
	<-asked // the first answer has been read
	select {
	case <-seen:
		t.Error("seen as ready before it is")
	default:
	}
	ready.Store(true)
	select {
	case <-seen:
	case <-time.After(10 * time.Second):
		t.Error("not seen")
	}
	cancel()
	<-done
}

func TestModerateIsBelowTheSlower(t *testing.T) {
	t.Parallel()
	takes := func(d time.Duration) side {
		return side{os.Getpid(), func(context.Context, int) error { <-time.After(d); return nil }}
	}
	rate, err := moderate(t.Context(), 0.5, 300*time.Millisecond, 2, takes(10*time.Millisecond), takes(time.Millisecond))
	if err != nil || rate <= 0 || rate > 100 { // two workers that take 10 ms make 200/s at the most
		t.Errorf("%.1f/s, %v", rate, err)
	}
	s, err := both(2, 100, 200*time.Millisecond, takes(time.Millisecond))(t.Context())
	if err != nil || s.Values[figure.Rate] <= 0 || s.Values[figure.P50] < 1 || s.Values[figure.P99] < s.Values[figure.P50] || s.Hist == nil {
		t.Errorf("%+v, %v", s.Values, err)
	}
}
