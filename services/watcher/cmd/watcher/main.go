// Command watcher runs Sandbar's watcher.
package main

import (
	"os"

	"github.com/sandbar-io/sandbar/pkg/run"
	"github.com/sandbar-io/sandbar/services/watcher"
)

func main() { os.Exit(run.Main("watcher", os.Environ(), os.Stderr, watcher.Run)) }
