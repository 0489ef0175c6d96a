// Command natsserver runs a NATS server with a configuration file, for the
// development stack and the tests. Where NATS_MONITOR_PORT is set, it tells its own
// figures there, on the loopback only.
package main

import (
	"fmt"
	"os"
	"strconv"

	"github.com/nats-io/nats-server/v2/server"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	if len(args) != 1 {
		fmt.Fprintln(os.Stderr, "usage: natsserver CONFIG")
		return 2
	}
	opts, err := server.ProcessConfigFile(args[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, "natsserver:", err)
		return 1
	}
	if port := os.Getenv("NATS_MONITOR_PORT"); port != "" {
		opts.HTTPHost = "127.0.0.1"
		if opts.HTTPPort, err = strconv.Atoi(port); err != nil {
			fmt.Fprintf(os.Stderr, "natsserver: NATS_MONITOR_PORT=%q is not a number\n", port)
			return 2
		}
	}
	s, err := server.NewServer(opts)
	if err != nil {
		fmt.Fprintln(os.Stderr, "natsserver:", err)
		return 1
	}
	s.ConfigureLogger()
	s.Start()
	s.WaitForShutdown()
	return 0
}
