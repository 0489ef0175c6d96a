// Command devstack brings Sandbar up on one machine: a cluster, the image of the
// test sandboxes, NATS and the four services, each a process of its own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/sandbar-io/sandbar/tools/internal/repo"
)

const usage = `usage: devstack COMMAND

  up            bring everything up, print how to use it, write .sandbar/env
  down          end and clean everything; twice is fine
                up and down --kubeconfig PATH: into that cluster and out of it
  status        what runs
  logs [NAME]   where the logs are, or follow one
  images        build and push the image of the test sandboxes
  testbed up    what the system tests run against, beside an up
  testbed down  end that
`

var errUsage = errors.New(strings.TrimSpace(usage))

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := command(ctx, args, stdout); err != nil {
		fmt.Fprintln(stderr, "devstack:", err)
		return 1
	}
	return 0
}

func command(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return errUsage
	}
	root, err := repo.Root()
	if err != nil {
		return err
	}
	b := bed{root: root, out: out}
	switch args[0] {
	case "up", "down":
		return b.upOrDown(ctx, args[0], args[1:])
	case "status":
		return b.status(ctx)
	case "logs":
		return b.logs(ctx, args[1:])
	case "images":
		return b.images(ctx)
	case "testbed":
		if len(args) == 2 && args[1] == "up" {
			return b.testbedUp(ctx)
		}
		if len(args) == 2 && args[1] == "down" {
			return b.testbedDown(ctx)
		}
	}
	return errUsage
}

// upOrDown is on this machine, or in the cluster of --kubeconfig. KUBECONFIG of the
// environment does not count: many a shell sets it for other purposes.
func (b bed) upOrDown(ctx context.Context, command string, args []string) error {
	flags := flag.NewFlagSet(command, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	kubeconfig := flags.String("kubeconfig", "", "")
	if flags.Parse(args) != nil || flags.NArg() > 0 {
		return errUsage
	}
	into := false
	flags.Visit(func(*flag.Flag) { into = true })
	switch {
	case into && command == "up":
		return b.upInto(ctx, *kubeconfig)
	case into:
		return b.downInto(ctx, *kubeconfig)
	case command == "up":
		return b.up(ctx)
	}
	return b.down(ctx)
}
