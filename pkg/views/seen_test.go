package views_test

import (
	"testing"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/pkg/views"
)

// An answer is made once for each view: not again when all are loaded anew, and
// always when the view is another.
func TestAnswerIsMadeOnceForEachView(t *testing.T) {
	t.Parallel()
	made := 0
	render := func(v *sandbox.View) []byte {
		made++
		return []byte(v.StatusDetail)
	}
	m := views.NewMemory()
	expect := func(answer string, times int) {
		t.Helper()
		for range 2 {
			if got := m.Session(tenant, "s").Answer(render); string(got) != answer || made != times {
				t.Errorf("%s, made %d times; want %s, %d", got, made, answer, times)
			}
		}
	}
	m.Merge(newView("s", 1), 1)
	expect("detail 1", 1)
	m.Merge(newView("s", 2), 2)
	expect("detail 2", 2)
	next := views.NewMemory()
	next.Merge(newView("s", 1), 1)
	m.Replace(next, 1)
	expect("detail 2", 2)
}
