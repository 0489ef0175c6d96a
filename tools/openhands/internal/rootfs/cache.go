// Package rootfs makes the folders in which the real OpenHands runs: a Debian with
// its Python, and sets of Python packages beside it that are laid into it. The same
// folders are the image of a sandbox and the place where a client runs.
package rootfs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sandbar-io/sandbar/tools/devcluster/cluster"
)

// Cache is where built folders lie. A folder's name holds a hash of all that it was
// made from; what is there is whole, and never changes.
type Cache struct {
	Dir string
	Log func(format string, a ...any)
}

// Open is the cache of this machine.
func Open(log func(format string, a ...any)) (Cache, error) {
	dir, err := cluster.CacheDir()
	if err != nil {
		return Cache{}, err
	}
	return Cache{Dir: filepath.Join(dir, "openhands"), Log: log}, nil
}

// ensure is the folder NAME-KEY, made by build if it is not there. Two callers at
// the same time build once; a build that fails or is killed leaves no folder.
func (c Cache) ensure(ctx context.Context, name, key string, build func(ctx context.Context, dir string) error) (string, error) {
	path := filepath.Join(c.Dir, name+"-"+key)
	if exists(path) {
		return path, nil
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return "", fmt.Errorf("cache of %s: %w", name, err)
	}
	unlock, err := c.lock(ctx, name)
	if err != nil {
		return "", fmt.Errorf("cache of %s: %w", name, err)
	}
	defer unlock()
	if exists(path) {
		return path, nil // the other one built it meanwhile
	}
	next := filepath.Join(c.Dir, ".new-"+name)
	if err := os.RemoveAll(next); err != nil { // of a build that was killed
		return "", fmt.Errorf("cache of %s: %w", name, err)
	}
	if err := os.Mkdir(next, 0o755); err != nil {
		return "", fmt.Errorf("cache of %s: %w", name, err)
	}
	began := time.Now()
	if err := build(ctx, next); err != nil {
		return "", errors.Join(fmt.Errorf("build %s: %w", name, err), os.RemoveAll(next))
	}
	if err := os.Rename(next, path); err != nil {
		return "", fmt.Errorf("cache of %s: %w", name, err)
	}
	c.Log("built %s in %s: %s", name, time.Since(began).Round(time.Second), path)
	return path, nil
}

// lock keeps a second builder of the same thing out until unlock.
func (c Cache) lock(ctx context.Context, name string) (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(c.Dir, ".lock-"+name), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for told := false; ; {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil // which unlocks
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(err, file.Close())
		}
		if !told {
			c.Log("another process builds %s; waiting for it", name)
			told = true
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), file.Close())
		case <-tick.C:
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// keyOf is a hash of inputs, none of which can run into its neighbour.
func keyOf(inputs ...string) string {
	h := sha256.New()
	for _, in := range inputs {
		fmt.Fprintf(h, "%d:%s", len(in), in)
	}
	const short = 16 // hex digits: enough against chance, and nobody attacks it
	return hex.EncodeToString(h.Sum(nil))[:short]
}
