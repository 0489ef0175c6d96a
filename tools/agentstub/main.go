// Command agentstub is the sandbox image of the tests: one static program that
// behaves like an OpenHands agent server wherever clients, the router and the
// watcher look, tells what reached it, and misbehaves when told to.
//
// Build it with CGO_ENABLED=0; nothing else has to be in the image.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/sandbar-io/sandbar/tools/agentstub/internal/agent"
)

func main() {
	// As PID 1 of a container a signal without a handler is ignored by the kernel.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args, os.Getenv, os.Stderr))
}

func run(ctx context.Context, argv []string, getenv func(string) string, stderr io.Writer) int {
	cfg, err := agent.FromEnv(argv, getenv)
	if err != nil {
		fmt.Fprintln(stderr, "agentstub:", err)
		return 2
	}
	code, err := agent.New(cfg, os.Exit).Run(ctx)
	if err != nil {
		fmt.Fprintln(stderr, "agentstub:", err)
	}
	return code
}
