package registry_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/gateway/internal/registry"
)

func logInto(lines chan<- string) *zap.Logger {
	core, _ := observer.New(zapcore.InfoLevel)
	return zap.New(zapcore.RegisterHooks(core, func(e zapcore.Entry) error { lines <- e.Message; return nil }))
}

// run runs until the test ends.
func run(t *testing.T, watch func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = watch(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

// An answer is kept for a short while: longer that an image is there than that
// it is not, and an error not at all.
func TestAnswersAreKept(t *testing.T) {
	t.Parallel()
	here := &registry.Image{Size: 1}
	for name, c := range map[string]struct {
		img   *registry.Image
		err   error
		keeps time.Duration
	}{"there": {here, nil, 30 * time.Second}, "not there": {nil, nil, 5 * time.Second}, "unknown": {nil, errors.New("away"), 0}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				client := registry.NewAsking(func(context.Context, string) (*registry.Image, error) { asked++; return c.img, c.err })
				defer client.Close()
				find := func(want int) {
					t.Helper()
					if img, err := client.Find(t.Context(), "a:1"); img != c.img || !errors.Is(err, c.err) || asked != want {
						t.Errorf("Find = %v, %v after %d questions, want %d", img, err, asked, want)
					}
				}
				find(1)
				if c.keeps == 0 {
					find(2)
					return
				}
				time.Sleep(c.keeps - time.Millisecond)
				find(1) // being asked for keeps nothing longer
				time.Sleep(2 * time.Millisecond)
				find(2)
			})
		})
	}
}

// The same reference, otherwise written, is one; another tag is another.
func TestAnswersAreKeptByReference(t *testing.T) {
	t.Parallel()
	var asked []string
	c := registry.NewAsking(func(_ context.Context, ref string) (*registry.Image, error) {
		asked = append(asked, ref)
		return nil, nil
	})
	defer c.Close()
	for _, reference := range []string{"a", "a:latest", "docker.io/library/a", "a:2", "b/a"} {
		if _, err := c.Find(t.Context(), reference); err != nil {
			t.Error(err)
		}
	}
	if fmt.Sprint(asked) != "[index.docker.io/library/a:latest index.docker.io/library/a:2 index.docker.io/b/a:latest]" {
		t.Errorf("asked for %v", asked)
	}
}

// Who asks at once for one image waits for one look-up, which does not end with
// the one who asked first.
func TestQuestionsAreShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		answer := make(chan *registry.Image)
		c := registry.NewAsking(func(ctx context.Context, _ string) (*registry.Image, error) {
			asked.Add(1)
			select {
			case img := <-answer:
				return img, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
		defer c.Close()
		first, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Find(first, "a:1"); sandbox.CodeOf(err) != sandbox.CodeUnavailable {
				t.Errorf("the one who left: %v", err)
			}
		})
		synctest.Wait()
		for range 100 {
			wg.Go(func() {
				if img, err := c.Find(t.Context(), "a:1"); err != nil || img == nil {
					t.Errorf("Find = %v, %v", img, err)
				}
			})
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		answer <- &registry.Image{}
		wg.Wait()
		if asked.Load() != 1 {
			t.Errorf("asked %d times", asked.Load())
		}
	})
}

// One look-up too many is refused at once, and room comes back with time: no
// look-up takes longer than Timeout.
func TestTooManyLookUps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := registry.NewAsking(func(ctx context.Context, _ string) (*registry.Image, error) {
			<-ctx.Done() // a registry that says nothing
			return nil, sandbox.Wrap(ctx.Err(), sandbox.CodeUnavailable, "silent")
		})
		defer c.Close()
		begin := time.Now()
		var wg sync.WaitGroup
		for i := range registry.MaxLookUps {
			wg.Go(func() {
				_, err := c.Find(t.Context(), fmt.Sprintf("a:%d", i))
				if sandbox.MessageOf(err) != "silent" || time.Since(begin) != registry.Timeout {
					t.Errorf("%v after %s", err, time.Since(begin))
				}
			})
		}
		synctest.Wait()
		for range 3 {
			_, err := c.Find(t.Context(), "one-more:1")
			if sandbox.CodeOf(err) != sandbox.CodeUnavailable || sandbox.MessageOf(err) == "silent" || time.Since(begin) != 0 {
				t.Errorf("%v after %s", err, time.Since(begin))
			}
		}
		wg.Wait()
		if _, err := c.Find(t.Context(), "one-more:1"); sandbox.MessageOf(err) != "silent" {
			t.Errorf("later: %v", err)
		}
	})
}

// Close ends look-ups and waits for them; later ones are refused.
func TestClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ended := false
		c := registry.NewAsking(func(ctx context.Context, _ string) (*registry.Image, error) {
			<-ctx.Done()
			ended = true
			return nil, ctx.Err()
		})
		done := make(chan error, 1)
		go func() { _, err := c.Find(t.Context(), "a:1"); done <- err }()
		synctest.Wait()
		c.Close()
		if !ended {
			t.Error("a look-up goes on")
		}
		if err := <-done; err == nil {
			t.Error("it has an answer")
		}
		if _, err := c.Find(t.Context(), "a:1"); sandbox.CodeOf(err) != sandbox.CodeUnavailable {
			t.Errorf("after Close: %v", err)
		}
	})
}

// What a library makes of an answer ends the look-up, not the process.
func TestPanic(t *testing.T) {
	t.Parallel()
	c := registry.NewAsking(func(context.Context, string) (*registry.Image, error) { panic("broken") })
	defer c.Close()
	if img, err := c.Find(t.Context(), "a:1"); img != nil || sandbox.CodeOf(err) != sandbox.CodeInternal {
		t.Errorf("Find = %v, %v", img, err)
	}
}
