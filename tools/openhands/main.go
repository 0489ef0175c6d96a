// Command openhands brings up what the real OpenHands is tested against: a cluster,
// Sandbar on it, and an image with the published agent server.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/sandbar-io/sandbar/tools/internal/repo"
	"github.com/sandbar-io/sandbar/tools/openhands/internal/rootfs"
)

const usage = `usage: openhands COMMAND

  up          bring it all up and write .sandbar/openhands/env
  down        end it; twice is fine
  build       only make the root folder and the sets of Python packages
  lock NAME   write the lock of a set of Python packages anew
`

var errUsage = errors.New(strings.TrimSpace(usage))

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := command(ctx, args, stdout); err != nil {
		fmt.Fprintln(stderr, "openhands:", err)
		return 1
	}
	return 0
}

func command(ctx context.Context, args []string, out io.Writer) error {
	repo, err := repo.Root()
	if err != nil {
		return err
	}
	say := func(format string, a ...any) { fmt.Fprintf(out, "openhands: "+format+"\n", a...) }
	cache, err := rootfs.Open(say)
	if err != nil {
		return err
	}
	b := bed{repo: repo, cache: cache, say: say}
	switch {
	case len(args) == 1 && args[0] == "up":
		return b.up(ctx)
	case len(args) == 1 && args[0] == "down":
		return b.down(ctx)
	case len(args) == 1 && args[0] == "build":
		for _, name := range rootfs.Sets() {
			if _, err := cache.Packages(ctx, name); err != nil {
				return err
			}
		}
		return nil
	case len(args) == 2 && args[0] == "lock":
		return cache.Lock(ctx, filepath.Join(repo, "tools", "openhands", "internal", "rootfs", "requirements"), args[1])
	}
	return errUsage
}
