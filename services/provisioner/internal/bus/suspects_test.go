package bus_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sandbar-io/sandbar/services/provisioner/internal/bus"
)

// enterAll lets suspects of these sequences come at once and returns the order in
// which they run, each for so long.
func enterAll(t *testing.T, delivered uint64, each time.Duration, sequences ...uint64) (order []uint64, together int) {
	t.Helper()
	var s bus.Suspects
	var mu sync.Mutex
	var wg sync.WaitGroup
	running := 0
	for _, seq := range sequences {
		wg.Go(func() {
			leave := s.Enter(t.Context(), seq, delivered)
			mu.Lock()
			order = append(order, seq)
			running++
			together = max(together, running)
			mu.Unlock()
			<-time.After(each)
			mu.Lock()
			running--
			mu.Unlock()
			leave()
		})
	}
	wg.Wait()
	return order, together
}

func TestSuspectsTakeTurns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		delivered uint64
		each      time.Duration
		want      []uint64
		together  int
	}{
		{"the first delivery waits for nobody", 1, time.Second, nil, 3},
		{"the second one is newest first", 2, 50 * time.Millisecond, []uint64{3, 2, 1}, 1},
		{"the third one is oldest first", 3, 50 * time.Millisecond, []uint64{1, 2, 3}, 1},
		{"slow ones take turns too", 3, 1500 * time.Millisecond, []uint64{1, 2, 3}, 1},
		{"one that hangs does not hold up the others", 3, time.Minute, nil, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				got, together := enterAll(t, c.delivered, c.each, 2, 3, 1)
				if c.want != nil && !slices.Equal(got, c.want) {
					t.Errorf("they ran in the order %v, want %v", got, c.want)
				}
				if together != c.together || len(got) != 3 {
					t.Errorf("%d of %v ran at once, want %d", together, got, c.together)
				}
			})
		})
	}
}
