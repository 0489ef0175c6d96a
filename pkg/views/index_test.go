package views_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sandbar-io/sandbar/pkg/views"
)

// slow answers each question after a while with the number of the question.
type slow struct {
	asked atomic.Uint64
	err   error
}

const answerTime = 100 * time.Millisecond

func (s *slow) ask(ctx context.Context) (time.Time, uint64, error) {
	n := s.asked.Add(1)
	select {
	case <-time.After(answerTime):
		return born, n, s.err
	case <-ctx.Done():
		return time.Time{}, 0, ctx.Err()
	}
}

// All that come while a question is under way share the next one, and nobody is
// given an answer to a question that was asked before he came.
func TestReadIndexIsCoalesced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &slow{}
		get := views.NewIndexer(s.ask)
		answers := make(chan uint64, 100)
		come := func(n int) {
			for range n {
				go func() {
					_, last, err := get(t.Context())
					if err != nil {
						t.Error(err)
					}
					answers <- last
				}()
			}
			synctest.Wait()
		}
		expect := func(n int, want uint64) {
			t.Helper()
			for range n {
				if got := <-answers; got != want {
					t.Errorf("answered by question %d, want %d", got, want)
				}
			}
		}
		come(1)
		come(20) // the first question is under way
		if n := s.asked.Load(); n != 1 {
			t.Errorf("%d questions", n)
		}
		expect(1, 1)
		synctest.Wait() // the second is under way
		come(20)
		expect(20, 2)
		expect(20, 3)
		synctest.Wait()
		come(1) // nobody waits: a new one
		expect(1, 4)
		if n := s.asked.Load(); n != 4 {
			t.Errorf("%d questions for 42 callers", n)
		}
	})
}

func TestReadIndexErrorsAreShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &slow{err: errors.New("no leader")}
		get := views.NewIndexer(s.ask)
		got := make(chan error, 3)
		for range 3 {
			go func() {
				_, _, err := get(t.Context())
				got <- err
			}()
		}
		for range 3 {
			if err := <-got; !errors.Is(err, s.err) {
				t.Errorf("%v", err)
			}
		}
		s.err = nil // it is not remembered
		if _, _, err := get(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Who does not want to wait any more leaves; the others get their answer.
func TestReadIndexOutlivesItsAsker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &slow{}
		get := views.NewIndexer(s.ask)
		first, leave := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() {
			_, _, err := get(first)
			gone <- err
		}()
		synctest.Wait()
		stays := make(chan error, 1)
		go func() {
			_, last, err := get(t.Context())
			if last != 2 {
				t.Errorf("answered by question %d", last)
			}
			stays <- err
		}()
		synctest.Wait()
		leave()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := <-stays; err != nil {
			t.Error(err)
		}
	})
}

// A question to which nobody answers ends, and the next is asked.
func TestReadIndexQuestionEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		get := views.NewIndexer(func(ctx context.Context) (time.Time, uint64, error) {
			if asked++; asked > 1 {
				return born, 7, nil
			}
			<-ctx.Done()
			return time.Time{}, 0, ctx.Err()
		})
		began := time.Now()
		if _, _, err := get(t.Context()); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != views.ReadIndexTimeout {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if _, last, err := get(t.Context()); last != 7 || err != nil {
			t.Errorf("%d, %v", last, err)
		}
	})
}

// What the watch brings while the bucket is asked is above the answer, and is no
// sign of an older store. What it brought before is.
func TestReadIndexWhileTheBucketMoves(t *testing.T) {
	t.Parallel()
	var seen func(time.Time, uint64)
	var get func(context.Context) error
	last := uint64(100)
	get, seen = views.NewIndexerBeside(func(context.Context) (time.Time, uint64, error) {
		answer := last
		seen(born, 105)
		return born, answer, nil
	})
	if err := get(t.Context()); err != nil {
		t.Errorf("the bucket moved meanwhile: %v", err)
	}
	if err := get(t.Context()); err == nil {
		t.Error("the bucket fell back to 100, and that is confirmed")
	}
	last = 105
	if err := get(t.Context()); err != nil {
		t.Error(err)
	}
}
