//go:build failpoints

// Package failpoint kills the process at a named point, for tests of what
// happens when a service dies between two side effects. It does nothing unless
// built with the tag failpoints.
package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

var (
	name, count, _ = strings.Cut(os.Getenv("SANDBAR_FAILPOINT"), ":")
	hits           atomic.Int64
)

// Hit kills the process by SIGKILL when SANDBAR_FAILPOINT is name:n and this is
// the n-th hit of the name (the first where n is left out). A file that
// SANDBAR_FAILPOINT_ONCE names is made first; where it is there already nothing
// happens, so that a restarted process goes on.
func Hit(point string) {
	if point != name {
		return
	}
	n, err := strconv.ParseInt(count, 10, 64)
	if err != nil {
		n = 1
	}
	if hits.Add(1) != n {
		return
	}
	if once := os.Getenv("SANDBAR_FAILPOINT_ONCE"); once != "" {
		f, err := os.OpenFile(once, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return
		}
		_ = f.Close()
	}
	fmt.Fprintln(os.Stderr, "failpoint", point)
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}
