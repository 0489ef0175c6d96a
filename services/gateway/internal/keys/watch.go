package keys

import (
	"context"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"
)

const (
	// settleFor collects the events of one change: an editor's write, or the
	// kubelet's swap of the ..data link, makes several.
	settleFor = 50 * time.Millisecond
	// pollEvery finds changes that make no event in the file's directory: a
	// link's target elsewhere, a network file system, a directory made anew.
	pollEvery = 10 * time.Second
)

// Watch reloads the file when it changes, until ctx ends. What cannot be used
// is logged once, and the keys stay as they were.
func (r *Ring) Watch(ctx context.Context) error {
	if r.path == "" {
		<-ctx.Done()
		return ctx.Err()
	}
	w, stop := r.watcher()
	defer stop()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	settle := time.NewTimer(0) // for what changed before the watch was there
	defer settle.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.Events:
			settle.Reset(settleFor)
		case err := <-w.Errors:
			r.log.Warn("the watch of the keys file reports an error", zap.Error(err))
		case <-settle.C:
			r.update()
		case <-poll.C:
			r.update()
		}
	}
}

// watcher watches the directory, not the file: a file that is replaced, and the
// link of a mounted ConfigMap or Secret, change there. Where it cannot, it
// returns one that reports nothing.
func (r *Ring) watcher() (*fsnotify.Watcher, func()) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		r.log.Warn("the keys file is polled only", zap.Error(err))
		return &fsnotify.Watcher{}, func() {} // its channels are nil
	}
	if err := w.Add(filepath.Dir(r.path)); err != nil {
		r.log.Warn("the keys file is polled only", zap.Error(err))
	}
	return w, func() { _ = w.Close() } // nothing was written
}

func (r *Ring) update() {
	changed, err := r.reload()
	switch {
	case err != nil:
		r.log.Error("the keys file cannot be used, the keys stay as they were", zap.Error(err))
	case changed:
		r.log.Info("the keys were reloaded", zap.Int("keys", len(*r.entries.Load())))
	}
}
