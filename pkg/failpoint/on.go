//go:build failpoints

// Package failpoint breaks a service at a named point between two side effects, for
// tests of what happens then. It does nothing unless built with the tag failpoints.
//
// SANDBAR_FAILPOINT is a list, by comma, of name[:nth][=what]: at the n-th hit of
// that name (the first where it is left out) this happens once:
//
//   - crash, which is meant where none is named: the process is killed by SIGKILL;
//   - hang: the call does not come back until its context ends, or for so long as
//     SANDBAR_FAILPOINT_HANG says;
//   - error: the side effect has succeeded, and its caller gets an error, as of one
//     whose answer was lost.
//
// SANDBAR_FAILPOINT_ONCE names a file that is made first; where it is there already
// nothing happens, so that of several processes one is hit, and one that was
// started again goes on. The second of a list has a file with the suffix .2, and so
// on.
package failpoint

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// longestHang is how long a hang lasts that no context ends.
const longestHang = time.Minute

type setting struct {
	name, what string
	nth        int64
	once       string
	hits       atomic.Int64
}

var settings = parse(os.Getenv("SANDBAR_FAILPOINT"), os.Getenv("SANDBAR_FAILPOINT_ONCE"))

func parse(list, once string) (out []*setting) {
	for i, text := range strings.Split(list, ",") {
		s := &setting{nth: 1, what: "crash"}
		place, what, named := strings.Cut(text, "=")
		if named {
			s.what = what
		}
		var count string
		s.name, count, _ = strings.Cut(place, ":")
		if n, err := strconv.ParseInt(count, 10, 64); err == nil {
			s.nth = n
		}
		if s.once = once; once != "" && i > 0 {
			s.once = fmt.Sprintf("%s.%d", once, i+1)
		}
		out = append(out, s)
	}
	return out
}

// Hit crashes or hangs where that is set for the point.
func Hit(ctx context.Context, point string) {
	for _, s := range settings {
		if s.what != "error" && s.due(point) {
			_ = s.happen(ctx)
		}
	}
}

// HitOf is Hit of the point that has a name for each of several things:
// point/of. A name that is put together elsewhere would be in what ships.
func HitOf(ctx context.Context, point, of string) { Hit(ctx, point+"/"+of) }

// After is called with what a side effect has come to. One that failed is no point;
// else the point's crash, hang or error happens.
func After(ctx context.Context, point string, err error) error {
	if err != nil {
		return err
	}
	for _, s := range settings {
		if s.due(point) {
			if err := s.happen(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// due reports whether this hit is the one, of this process and of all.
func (s *setting) due(point string) bool {
	if point != s.name || s.hits.Add(1) != s.nth {
		return false
	}
	if s.once == "" {
		return true
	}
	f, err := os.OpenFile(s.once, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return false
	}
	_ = f.Close()
	return true
}

func (s *setting) happen(ctx context.Context) error {
	fmt.Fprintln(os.Stderr, "failpoint", s.name, s.what)
	switch s.what {
	case "error":
		return fmt.Errorf("failpoint %s: the answer was lost", s.name)
	case "hang":
		return hang(ctx)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// hang returns nil where the answer only came late.
func hang(ctx context.Context) error {
	d, err := time.ParseDuration(os.Getenv("SANDBAR_FAILPOINT_HANG"))
	if err != nil {
		d = longestHang
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
