// Package refile tells when files have changed, so that they are read again:
// those of a mounted ConfigMap or Secret, or what an editor writes.
package refile

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
	// pollEvery finds changes that make no event in a file's directory: a link's
	// target elsewhere, a network file system, a directory made anew.
	pollEvery = 10 * time.Second
)

// Watch calls changed after the files may have changed, and at its begin, until
// ctx ends. It is also called where nothing did.
func Watch(ctx context.Context, log *zap.Logger, changed func(), files ...string) error {
	w, stop := watcher(log, files)
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
			log.Warn("the watch of files reports an error", zap.Strings("files", files), zap.Error(err))
		case <-settle.C:
			changed()
		case <-poll.C:
			changed()
		}
	}
}

// watcher watches the directories, not the files: a file that is replaced, and
// the link of a mounted ConfigMap or Secret, change there. Where it cannot, it
// returns one that reports nothing.
func watcher(log *zap.Logger, files []string) (*fsnotify.Watcher, func()) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("files are polled only", zap.Strings("files", files), zap.Error(err))
		return &fsnotify.Watcher{}, func() {} // its channels are nil
	}
	for _, file := range files { // adding a directory twice does nothing
		if err := w.Add(filepath.Dir(file)); err != nil {
			log.Warn("a file is polled only", zap.String("file", file), zap.Error(err))
		}
	}
	return w, func() { _ = w.Close() } // nothing was written
}
