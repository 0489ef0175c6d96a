package views

import (
	"sync"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// Seen is a view as a memory holds it. Memory replaces it as a whole, so that what
// was made of it once stays right.
type Seen struct {
	*sandbox.View
	Revision uint64 // its place in the bucket

	once   sync.Once
	answer []byte
}

// Answer is what render makes of the view. It is made when it is first asked for,
// kept as long as the view, and shared: do not change it. Whoever reads one memory
// passes the same render.
func (s *Seen) Answer(render func(*sandbox.View) []byte) []byte {
	s.once.Do(func() { s.answer = render(s.View) })
	return s.answer
}
