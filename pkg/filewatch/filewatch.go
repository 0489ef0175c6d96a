// Package filewatch reads the files of a setting, and again when they change.
package filewatch

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"
)

const (
	// settleFor collects the events of one change: an editor's write, or the
	// kubelet's swap of the ..data link, makes several.
	settleFor = 50 * time.Millisecond
	// pollEvery finds changes that make no event in a watched folder: a link's
	// target elsewhere, a network file system, a folder made anew.
	pollEvery = 10 * time.Second
)

// File is one file as it was read.
type File struct {
	Path string
	Body []byte
}

// Watch follows the files of one setting.
type Watch struct {
	setting string
	paths   []string
	take    func([]File) error
	log     *zap.Logger

	mu   sync.Mutex         // one reading at a time
	seen *[sha256.Size]byte // what was read last, whether it could be used or not
}

// New reads the files and hands them to take. A path may be a folder: then all
// files in it and in its folders count. Without a path there is nothing to
// read, and take is not called. What cannot be used is an error here, and only
// logged later.
func New(setting string, paths []string, take func([]File) error, log *zap.Logger) (*Watch, error) {
	w := &Watch{setting: setting, paths: paths, take: take, log: log}
	if len(paths) == 0 {
		return w, nil
	}
	if _, err := w.read(); err != nil {
		return nil, fmt.Errorf("%s %s: %w", setting, strings.Join(paths, ","), err)
	}
	return w, nil
}

// read hands the files over if they hold something else than the last time. It
// reports whether they were taken.
func (w *Watch) read() (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	files, err := readAll(w.paths)
	now := digest(files, err)
	if w.seen != nil && *w.seen == now {
		return false, nil
	}
	w.seen = &now
	if err != nil {
		return false, err
	}
	if err := w.take(files); err != nil {
		return false, err
	}
	return true, nil
}

// Run reads again at each change until ctx ends. What cannot be used is logged
// once, and what was taken before stays.
func (w *Watch) Run(ctx context.Context) error {
	if len(w.paths) == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	events, stop := w.events()
	defer stop()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	settle := time.NewTimer(0) // for what changed before the watch was there
	defer settle.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-events.Events:
			settle.Reset(settleFor)
		case err := <-events.Errors:
			w.log.Warn("the watch of a setting's files reports an error", zap.String("setting", w.setting), zap.Error(err))
		case <-settle.C:
			w.update()
		case <-poll.C:
			w.update()
		}
	}
}

// events watches folders, not files: a file that is replaced, and the link of a
// mounted ConfigMap or Secret, change there. Where it cannot, it returns one
// that reports nothing.
func (w *Watch) events() (*fsnotify.Watcher, func()) {
	f, err := fsnotify.NewWatcher()
	if err != nil {
		w.polledOnly(err)
		return &fsnotify.Watcher{}, func() {} // its channels are nil
	}
	for _, folder := range w.folders() {
		if err := f.Add(folder); err != nil {
			w.polledOnly(err)
		}
	}
	return f, func() { _ = f.Close() } // nothing was written
}

// folders are those of all files, and the paths that are folders themselves.
func (w *Watch) folders() []string {
	var out []string
	for _, path := range w.paths {
		if found, err := list(path, true); err != nil || len(found) != 1 || found[0] != path {
			out = append(out, path) // a folder, or about to be one
			for _, name := range found {
				out = append(out, filepath.Dir(name))
			}
			continue
		}
		out = append(out, filepath.Dir(path))
	}
	return out
}

func (w *Watch) polledOnly(err error) {
	w.log.Warn("a setting's files are polled only", zap.String("setting", w.setting), zap.Error(err))
}

func (w *Watch) update() {
	changed, err := w.read()
	switch {
	case err != nil:
		w.log.Error("a setting's files cannot be used, what they held before stays", zap.String("setting", w.setting), zap.Error(err))
	case changed:
		w.log.Info("a setting's files were reloaded", zap.String("setting", w.setting))
	}
}
