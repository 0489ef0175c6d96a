package sandbox_test

import (
	"maps"
	"reflect"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

func TestNewer(t *testing.T) {
	t.Parallel()
	view := func(generation, incarnation int64, order uint64) *sandbox.View {
		return &sandbox.View{Generation: generation, Incarnation: incarnation, Order: order}
	}
	// Each is newer than all before it.
	sorted := []*sandbox.View{
		view(0, 0, 0), view(0, 0, 1), view(0, 1, 0), view(1, 0, 0), view(1, 0, 1<<63), view(1, 1, 0), view(1, 1, 9), view(2, 0, 0), view(2, 1, 5),
		view(2, 1, 1<<64-1), view(1_790_000_000_000, 1, 0),
	}
	for i, a := range sorted {
		for j, b := range sorted {
			got, want := sandbox.Newer(a, b), 0
			switch {
			case i > j:
				want = 1
			case i < j:
				want = -1
			}
			if got != want {
				t.Errorf("%d of %+v and %+v", got, a, b)
			}
		}
	}
}

// Every member of a view is either what makes a difference to a reader, or it is
// said here why it does not. A new one must be put into one of the two.
func TestSameForReaders(t *testing.T) {
	t.Parallel()
	different := map[string]func(*sandbox.View){
		"RecordUID":      func(v *sandbox.View) { v.RecordUID += "x" },
		"RuntimeID":      func(v *sandbox.View) { v.RuntimeID += "x" },
		"Generation":     func(v *sandbox.View) { v.Generation++ },
		"Incarnation":    func(v *sandbox.View) { v.Incarnation++ },
		"LastCommand":    func(v *sandbox.View) { v.LastCommand += "x" },
		"Status":         func(v *sandbox.View) { v.Status = sandbox.StatusPaused },
		"PodStatus":      func(v *sandbox.View) { v.PodStatus = sandbox.PodPending },
		"StatusDetail":   func(v *sandbox.View) { v.StatusDetail += "x" },
		"Route":          func(v *sandbox.View) { v.Route.Label += "x" },
		"Address":        func(v *sandbox.View) { v.Address += "x" },
		"SessionKey":     func(v *sandbox.View) { v.SessionKey += "x" },
		"RestartCount":   func(v *sandbox.View) { v.RestartCount++ },
		"RestartReasons": func(v *sandbox.View) { v.RestartReasons = append(v.RestartReasons, "x") },
		"PodLogs":        func(v *sandbox.View) { v.PodLogs += "x" },
		"Image":          func(v *sandbox.View) { v.Image += "x" },
		"Served":         func(v *sandbox.View) { v.Served = !v.Served },
		"RouteCheck":     func(v *sandbox.View) { v.RouteCheck += "x" },
		"UnreadySince":   func(v *sandbox.View) { v.UnreadySince = v.UnreadySince.Add(1) },
	}
	route := map[string]func(*sandbox.View){
		"Label": different["Route"],
		"URL":   func(v *sandbox.View) { v.Route.URL += "x" },
		"WorkHosts": func(v *sandbox.View) {
			v.Route.WorkHosts = maps.Clone(v.Route.WorkHosts)
			v.Route.WorkHosts["y"] = 1
		},
	}
	same := map[string]string{
		"Record": "the key", "Tenant": "the key", "SessionID": "a function of the key",
		"Order":       "the place of the view among others",
		"SealedKey":   "SessionKey, under another nonce each time",
		"CreatedAt":   "fixed with the runtime id",
		"Transitions": "for the watcher only, and made from the rest",
	}
	sameRoute := map[string]string{"VSCodeURL": "fixed with the label", "Unknown": "fixed too, and nothing that this version reads"}
	classified(t, reflect.TypeFor[sandbox.View](), different, same)
	classified(t, reflect.TypeFor[sandbox.Route](), route, sameRoute)

	var view sandbox.View
	fill(&view)
	for _, changes := range []map[string]func(*sandbox.View){different, route} {
		for name, change := range changes {
			a, b := view.Clone(), view.Clone()
			if !sandbox.SameForReaders(a, b) {
				t.Fatal("a copy is not the same")
			}
			change(b)
			if sandbox.SameForReaders(a, b) || sandbox.SameForReaders(b, a) {
				t.Errorf("readers cannot tell a change of %s", name)
			}
		}
	}
	other := view.Clone()
	other.Order, other.SealedKey, other.CreatedAt, other.Transitions = 99, "y", time.Time{}, nil
	if !sandbox.SameForReaders(&view, other) {
		t.Error("readers can tell what is not for them")
	}
	other.UnreadySince = other.UnreadySince.In(time.FixedZone("x", 3600))
	if !sandbox.SameForReaders(&view, other) {
		t.Error("the same moment in another zone is another")
	}
}

func classified(t *testing.T, typ reflect.Type, different map[string]func(*sandbox.View), same map[string]string) {
	t.Helper()
	for i := range typ.NumField() {
		name := typ.Field(i).Name
		_, d := different[name]
		_, s := same[name]
		if d == s {
			t.Errorf("%s.%s must be either compared by SameForReaders or said here to make no difference", typ.Name(), name)
		}
	}
	if n := len(different) + len(same); n != typ.NumField() {
		t.Errorf("%s has %d members, %d are classified", typ.Name(), typ.NumField(), n)
	}
}
