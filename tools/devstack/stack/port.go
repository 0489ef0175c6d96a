package stack

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Free ports are looked for below those that the kernel gives to connections
// (from 32768 on), so that none takes one between the look and the service's own
// bind.
const (
	firstPort = 20000
	lastPort  = 32000
	portTries = 200
)

// given are the ports that this process has handed out: several stacks may start
// at once.
var given = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// FreePort is one that is free, for a server beside a stack.
func FreePort() (int, error) { return port(0, 0) }

// port is the wanted one and so many up, or any that is free where none is
// wanted.
func port(want, offset int) (int, error) {
	if want != 0 {
		return want + offset, nil
	}
	given.Lock()
	defer given.Unlock()
	for range portTries {
		p := firstPort + rand.IntN(lastPort-firstPort)
		if given.ports[p] {
			continue
		}
		l, err := net.Listen("tcp", ":"+strconv.Itoa(p)) // as the services do, on all addresses
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return 0, fmt.Errorf("find a free port: %w", err)
		}
		given.ports[p] = true
		return p, nil
	}
	return 0, errors.New("no free port was found")
}
