package views

import (
	"slices"
	"sort"
	"strings"
	"sync"
)

// shelfMost is how many views a shelf holds at most. A change copies one shelf's
// pointers, and a list encodes as many objects anew as changed shelves hold.
const shelfMost = 128

// Shelf is a part of a tenant's views, the oldest sandbox first. A change replaces it
// as a whole, so that what was made of it once stays right.
type Shelf struct {
	Seen []*Seen

	once sync.Once
	body []byte
	n    int
}

// Answer is what render makes of the shelf: a text and the number of sandboxes in it.
// It is made when it is first asked for, kept as long as the shelf, and shared: do
// not change it. Whoever reads one memory passes the same render.
func (s *Shelf) Answer(render func([]*Seen) (body []byte, n int)) ([]byte, int) {
	s.once.Do(func() { s.body, s.n = render(s.Seen) })
	return s.body, s.n
}

// row is all of a tenant's views, in shelves of which none is empty.
type row []*Shelf

// find is the shelf in which s is or would be: the last that begins before it.
func (r row) find(s *Seen) int {
	return max(sort.Search(len(r), func(i int) bool { return before(s, r[i].Seen[0]) })-1, 0)
}

// insert puts s in; it must not be there.
func (r row) insert(s *Seen) row {
	if len(r) == 0 {
		return row{{Seen: []*Seen{s}}}
	}
	i := r.find(s)
	seen := r[i].Seen
	at, _ := slices.BinarySearchFunc(seen, s, compare)
	if at == len(seen) && len(seen) == shelfMost && i == len(r)-1 { // new ones come last, as a rule
		return append(r, &Shelf{Seen: []*Seen{s}})
	}
	seen = slices.Concat(seen[:at], []*Seen{s}, seen[at:])
	if len(seen) <= shelfMost {
		r[i] = &Shelf{Seen: seen}
		return r
	}
	half := len(seen) / 2
	r[i] = &Shelf{Seen: slices.Clone(seen[:half])}
	return slices.Insert(r, i+1, &Shelf{Seen: slices.Clone(seen[half:])})
}

// remove takes s out, if it is there itself.
func (r row) remove(s *Seen) row {
	if len(r) == 0 {
		return r
	}
	i := r.find(s)
	seen := r[i].Seen
	at, ok := slices.BinarySearchFunc(seen, s, compare)
	if !ok || seen[at] != s {
		return r
	}
	seen = slices.Concat(seen[:at], seen[at+1:])
	next := i + 1
	if next < len(r) && len(seen)+len(r[next].Seen) <= shelfMost/2 {
		seen = slices.Concat(seen, r[next].Seen)
		r = slices.Delete(r, next, next+1)
	}
	if len(seen) == 0 {
		return slices.Delete(r, i, i+1)
	}
	r[i] = &Shelf{Seen: seen}
	return r
}

func before(a, b *Seen) bool { return compare(a, b) < 0 }

// compare orders a tenant's views: the oldest sandbox first.
func compare(a, b *Seen) int {
	if n := a.CreatedAt.Compare(b.CreatedAt); n != 0 {
		return n
	}
	if n := strings.Compare(a.RuntimeID, b.RuntimeID); n != 0 {
		return n
	}
	return strings.Compare(a.Record, b.Record)
}
