// Command provisioner runs the provisioner; .env.example lists its settings.
package main

import (
	"os"

	"github.com/sandbar-io/sandbar/pkg/run"
	"github.com/sandbar-io/sandbar/services/provisioner"
)

func main() {
	os.Exit(run.Main(provisioner.Name, os.Environ(), os.Stderr, provisioner.Run))
}
