package views

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// A row holds what a sorted slice would, and no shelf that it gave out changes.
func TestRow(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	var r row
	var want []*Seen
	given := map[*Shelf][]*Seen{}
	begin := time.Now()
	for i := range 6000 {
		if growing := i < 2000 || i >= 3000 && i < 4500; growing == (random.IntN(10) > 0) {
			s := &Seen{View: &sandbox.View{RuntimeID: fmt.Sprint(i), CreatedAt: begin.Add(time.Duration(i) * time.Second)}}
			if random.IntN(4) == 0 { // another's clock
				s.CreatedAt = begin.Add(time.Duration(random.IntN(i+1)) * time.Second)
			}
			r = r.insert(s)
			at, _ := slices.BinarySearchFunc(want, s, compare)
			want = slices.Insert(want, at, s)
		} else if len(want) > 0 {
			at := random.IntN(len(want))
			r = r.remove(&Seen{View: want[at].View}) // another of the same place
			r = r.remove(want[at])
			want = slices.Delete(want, at, at+1)
		}
		for _, s := range r {
			if given[s] == nil {
				given[s] = slices.Clone(s.Seen)
			}
		}
		if i%50 > 0 {
			continue
		}
		var got []*Seen
		for _, s := range r {
			if len(s.Seen) == 0 || len(s.Seen) > shelfMost {
				t.Fatalf("a shelf of %d", len(s.Seen))
			}
			got = append(got, s.Seen...)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("after %d steps %d views are there, want %d in their order", i, len(got), len(want))
		}
		if most := 4*len(want)/shelfMost + 2; len(r) > most {
			t.Fatalf("%d shelves for %d views", len(r), len(want))
		}
	}
	for s, was := range given {
		if !slices.Equal(s.Seen, was) {
			t.Fatal("a shelf that was given out changed")
		}
	}
}

func TestShelfAnswersOnce(t *testing.T) {
	t.Parallel()
	s := &Shelf{Seen: []*Seen{{View: &sandbox.View{}}}}
	asked := 0
	render := func(all []*Seen) ([]byte, int) { asked++; return []byte("x"), len(all) }
	for range 2 {
		if body, n := s.Answer(render); string(body) != "x" || n != 1 {
			t.Errorf("%s, %d", body, n)
		}
	}
	if asked != 1 {
		t.Errorf("rendered %d times", asked)
	}
}
