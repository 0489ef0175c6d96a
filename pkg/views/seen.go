package views

import (
	"sync/atomic"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// Seen is a view as a memory holds it. Memory replaces it as a whole, so that what
// was made of it once stays right.
type Seen struct {
	*sandbox.View
	Revision uint64 // its place in the bucket

	answer atomic.Pointer[[]byte]
}

// Answer is what render makes of the view. It is made when it is first asked for,
// kept as long as the view, and shared: do not change it. Whoever reads one memory
// passes the same render.
func (s *Seen) Answer(render func(*sandbox.View) []byte) []byte {
	if made := s.answer.Load(); made != nil {
		return *made
	}
	made := render(s.View)
	s.answer.Store(&made)
	return made
}
