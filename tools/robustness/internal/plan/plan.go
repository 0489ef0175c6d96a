// Package plan says what a run does: which requests and which faults, all from
// one seed. What is asked for does not depend on what is answered, so that a seed
// repeats it; only the times are the machine's.
package plan

import (
	"math/rand/v2"
	"time"

	"github.com/sandbar-io/sandbar/tools/robustness/internal/history"
)

// Streams of random numbers, so that one more client changes nothing of the
// others.
const (
	changers = 1 << 32
	readers  = 2 << 32
	rounds   = 3 << 32
)

func source(seed uint64, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }

// Step is one request of a client.
type Step struct {
	Verb    history.Verb
	Session int           // of those that the client may ask for
	Gateway int           // any number; the client takes it modulo how many there are
	Times   int           // so many at once, over all gateways
	Think   time.Duration // before it
}

// Client makes the steps of one client.
type Client struct {
	random   *rand.Rand
	verbs    []weighted[history.Verb]
	sessions int
	think    time.Duration // at most
}

type weighted[T any] struct {
	what   T
	weight int
}

func pick[T any](r *rand.Rand, from []weighted[T]) T {
	sum := 0
	for _, w := range from {
		sum += w.weight
	}
	n := r.IntN(sum)
	for _, w := range from {
		if n -= w.weight; n < 0 {
			return w.what
		}
	}
	return from[0].what // not reached: n is below the sum
}

// Changer is the n-th client that changes sandboxes. Nobody else changes its
// sessions.
func Changer(seed uint64, n, sessions int) *Client {
	return &Client{
		random: source(seed, changers+uint64(n)), sessions: sessions, think: 500 * time.Millisecond,
		verbs: []weighted[history.Verb]{{history.Start, 40}, {history.Pause, 20}, {history.Resume, 22}, {history.Stop, 18}},
	}
}

// Reader is the n-th client that only reads.
func Reader(seed uint64, n, sessions int) *Client {
	return &Client{
		random: source(seed, readers+uint64(n)), sessions: sessions, think: 150 * time.Millisecond,
		verbs: []weighted[history.Verb]{{history.Session, 45}, {history.Runtime, 20}, {history.Batch, 20}, {history.List, 15}},
	}
}

// Next is the client's next step. One start in six comes several times at once,
// as from a client that does not wait.
func (c *Client) Next() Step {
	s := Step{
		Verb: pick(c.random, c.verbs), Session: c.random.IntN(c.sessions), Gateway: c.random.IntN(1 << 16), Times: 1,
		Think: time.Duration(c.random.Int64N(int64(c.think))),
	}
	if burst := c.random.IntN(6); s.Verb == history.Start && burst == 0 {
		s.Times = 2 + c.random.IntN(3)
	}
	return s
}
