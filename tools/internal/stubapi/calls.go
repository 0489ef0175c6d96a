package stubapi

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Call is one request.
type Call struct {
	User     string // whose token it carries: provisioner
	Verb     string // as RBAC names it: get, list, watch, create, update, patch, delete
	Resource string // secrets, serviceaccounts/token
}

func (c Call) String() string { return c.User + " " + c.Verb + " " + c.Resource }

// Calls counts calls. Its zero value is ready.
type Calls struct {
	mu    sync.Mutex
	count map[Call]int
}

func (c *Calls) add(call Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count == nil {
		c.count = map[Call]int{}
	}
	c.count[call]++
}

// Counts are calls and how often each was made.
type Counts map[Call]int

// All is what was counted so far.
func (c *Calls) All() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(Counts(c.count))
}

// Since is what was counted beyond an earlier All.
func (c *Calls) Since(before Counts) Counts {
	out := c.All()
	for call, n := range before {
		if out[call] -= n; out[call] == 0 {
			delete(out, call)
		}
	}
	return out
}

// Of are the calls of one user.
func (c Counts) Of(user string) Counts {
	out := maps.Clone(c)
	maps.DeleteFunc(out, func(call Call, _ int) bool { return call.User != user })
	return out
}

// Total is how many calls they are.
func (c Counts) Total() (n int) {
	for _, i := range c {
		n += i
	}
	return n
}

func (c Counts) String() string {
	var all []string
	for call, n := range c {
		all = append(all, fmt.Sprintf("%s ×%d", call, n))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
