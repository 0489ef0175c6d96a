// Command gateway serves the HTTP contract of OpenHands clients.
package main

import (
	"os"

	"github.com/sandbar-io/sandbar/pkg/run"
	"github.com/sandbar-io/sandbar/services/gateway"
)

func main() {
	os.Exit(run.Main("gateway", os.Environ(), os.Stderr, gateway.Run))
}
