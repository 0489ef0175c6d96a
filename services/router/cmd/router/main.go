// Command router carries traffic to sandboxes.
package main

import (
	"os"

	"github.com/sandbar-io/sandbar/pkg/run"
	"github.com/sandbar-io/sandbar/services/router"
)

func main() { os.Exit(run.Main("router", os.Environ(), os.Stderr, router.Run)) }
