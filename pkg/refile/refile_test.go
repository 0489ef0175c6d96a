package refile_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sandbar-io/sandbar/pkg/refile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Files of several directories, one of which is not there, are watched as far as
// they can be.
func TestWatch(t *testing.T) {
	t.Parallel()
	first, second := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	core, logs := observer.New(zap.WarnLevel)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	changed := make(chan struct{})
	ended := make(chan error)
	go func() {
		ended <- refile.Watch(ctx, zap.New(core), func() { changed <- struct{}{} }, first, second, filepath.Join(first, "none"))
	}()
	<-changed // at the begin
	for _, file := range []string{first, second, first} {
		if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		<-changed
	}
	if n := logs.FilterMessage("a file is polled only").Len(); n != 1 {
		t.Errorf("%d files are polled only", n)
	}
	cancel()
	for {
		select {
		case <-changed: // one that was polled
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			return
		}
	}
}
