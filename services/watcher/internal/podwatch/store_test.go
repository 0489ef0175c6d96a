package podwatch

import (
	"maps"
	"slices"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// pod is a pod of record "r".
func pod(name string, rv int) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: name, ResourceVersion: strconv.Itoa(rv), Labels: map[string]string{kube.LabelRecord: "r"},
	}}
}

func podList(pods ...*corev1.Pod) []any {
	var out []any
	for _, p := range pods {
		out = append(out, p)
	}
	return out
}

func podStore(told *int) *store[sandbox.Pod] {
	return newStore(func(obj any) sandbox.Pod { return kube.PodOf(obj.(*corev1.Pod)) },
		func(p sandbox.Pod) string { return p.Record }, func(sandbox.Pod) { *told++ })
}

// holds is name → resourceVersion of what the store has of record "r".
func holds(s *store[sandbox.Pod]) map[string]uint64 {
	out := map[string]uint64{}
	pods, _ := s.of("r")
	for _, p := range pods {
		out[p.Name] = p.Order
	}
	return out
}

func TestStoreNeverGoesBack(t *testing.T) {
	t.Parallel()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var told int
	s := podStore(&told)
	steps := []struct {
		name string
		do   func()
		want map[string]uint64
		at   uint64
		told int // times since the step before
	}{
		{"a list", func() { ok(s.Replace(podList(pod("a", 5), pod("b", 7)), "10")) }, map[string]uint64{"a": 5, "b": 7}, 10, 2},
		{"an addition", func() { ok(s.Add(pod("c", 11))) }, map[string]uint64{"a": 5, "b": 7, "c": 11}, 11, 1},
		{"a change", func() { ok(s.Update(pod("a", 12))) }, map[string]uint64{"a": 12, "b": 7, "c": 11}, 12, 2},
		{"an old event", func() { ok(s.Update(pod("a", 9))) }, map[string]uint64{"a": 12, "b": 7, "c": 11}, 12, 0},
		{"an old end", func() { ok(s.Delete(pod("c", 12))) }, map[string]uint64{"a": 12, "b": 7, "c": 11}, 12, 0},
		{"an old list", func() { ok(s.Replace(podList(pod("a", 5)), "11")) }, map[string]uint64{"a": 12, "b": 7, "c": 11}, 12, 0},
		{"an end", func() { ok(s.Delete(pod("c", 13))) }, map[string]uint64{"a": 12, "b": 7}, 13, 1},
		{"a bookmark", func() { ok(s.Bookmark("20")) }, map[string]uint64{"a": 12, "b": 7}, 20, 0},
		{"an old bookmark", func() { ok(s.Bookmark("19")) }, map[string]uint64{"a": 12, "b": 7}, 20, 0},
		{"a live list", func() { ok(s.Replace(podList(pod("a", 12), pod("d", 25)), "30")) }, map[string]uint64{"a": 12, "d": 25}, 30, 2},
		{"what the watch shows late", func() { ok(s.Add(pod("d", 25))); ok(s.Delete(pod("b", 24))) }, map[string]uint64{"a": 12, "d": 25}, 30, 0},
		{"a watch that begins anew behind what is here", func() { s.stood(); ok(s.Replace(podList(pod("a", 5)), "11")) }, map[string]uint64{"a": 12, "d": 25}, 30, 0},
		{"a cluster from a backup", func() { s.forget(); ok(s.Replace(podList(pod("a", 3)), "4")) }, map[string]uint64{"a": 3}, 4, 3},
	}
	for _, step := range steps {
		told = 0
		step.do()
		if got := holds(s); !maps.Equal(got, step.want) || s.at() != step.at || told != step.told {
			t.Errorf("%s: %v at %d, told %d times; want %v at %d, %d times", step.name, got, s.at(), told, step.want, step.at, step.told)
		}
		if s.isBehind() {
			t.Errorf("%s: it is still behind", step.name)
		}
	}
}

// Of a list only what changed is decoded; of one that may be a cluster's from a
// backup all is.
func TestListsAreDecodedOnce(t *testing.T) {
	t.Parallel()
	var decoded []string
	s := newStore(func(obj any) sandbox.Pod {
		p := kube.PodOf(obj.(*corev1.Pod))
		decoded = append(decoded, p.Name)
		return p
	}, func(p sandbox.Pod) string { return p.Record }, func(sandbox.Pod) {})
	list := func(version string, pods ...*corev1.Pod) {
		t.Helper()
		objs := podList(pods...)
		for i, obj := range objs { // as the reflector does, where the server streams lists
			for range 2 {
				var err error
				if obj, err = s.Transformer()(obj); err != nil {
					t.Fatal(err)
				}
			}
			objs[i] = obj
		}
		if err := s.Replace(objs, version); err != nil {
			t.Fatal(err)
		}
	}
	list("10", pod("a", 5), pod("b", 7))
	list("12", pod("a", 5), pod("b", 11), pod("c", 12))
	if want := []string{"a", "b", "b", "c"}; !slices.Equal(decoded, want) {
		t.Errorf("decoded %q, want %q", decoded, want)
	}
	if got, want := holds(s), (map[string]uint64{"a": 5, "b": 11, "c": 12}); !maps.Equal(got, want) {
		t.Errorf("holds %v, want %v", got, want)
	}
	decoded = nil
	s.forget()
	list("6", pod("a", 5))
	if want := []string{"a"}; !slices.Equal(decoded, want) {
		t.Errorf("of a backup's list %q was decoded, want %q", decoded, want)
	}
}

// What a record holds for its sandbox only does not stay in memory.
func TestRecordsAreTrimmed(t *testing.T) {
	t.Parallel()
	s, err := kube.EncodeRecord(&sandbox.Record{
		Name: sandbox.RecordName("acme", "s"), Tenant: "acme", SessionID: "s", RuntimeID: sandbox.NewRuntimeID(), Desired: sandbox.Running,
		Spec:       sandbox.Spec{Image: "agent:1", Command: []string{"run"}, Environment: map[string]string{"TOKEN": "x"}, Lifecycle: &sandbox.Lifecycle{}},
		SessionKey: "session", SecretKey: "secret", KeyNumber: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	r := new(Watch).decode(s).record
	if r.SecretKey != "" || r.Spec.Command != nil || r.Spec.Environment != nil {
		t.Errorf("kept: %+v", r)
	}
	if r.SessionKey != "session" || r.Spec.Image != "agent:1" || r.Spec.Lifecycle == nil {
		t.Errorf("not kept: %+v", r)
	}
}

func TestStuck(t *testing.T) {
	t.Parallel()
	var told int
	s := podStore(&told)
	if err := s.Replace(podList(pod("a", 5), pod("b", 7)), "10"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		l    listing
		want []string
	}{
		{"the same", listing{10, map[string]uint64{"a": 5, "b": 7}}, nil},
		{"older than the store", listing{10, map[string]uint64{"a": 4, "b": 7}}, nil},
		{"a change was missed", listing{12, map[string]uint64{"a": 11, "b": 7}}, []string{"a"}},
		{"one was missed", listing{12, map[string]uint64{"a": 5, "b": 7, "c": 12}}, []string{"c"}},
		{"an end was missed", listing{12, map[string]uint64{"a": 5}}, []string{"b"}},
		{"the cluster went back", listing{4, map[string]uint64{"a": 4}}, []string{goneBack}},
	} {
		got := slices.Sorted(maps.Keys(s.differences(c.l, 10)))
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	one := map[string]uint64{"a": 5, "b": 7}
	for _, c := range []struct {
		name   string
		second map[string]uint64
		want   bool
	}{
		{"moved on", map[string]uint64{}, false},
		{"moved, and behind again", map[string]uint64{"a": 6, "c": 0}, false},
		{"stands", map[string]uint64{"b": 7}, true},
	} {
		if stuck(one, c.second) != c.want {
			t.Errorf("%s: stuck is %v", c.name, !c.want)
		}
	}
	back := map[string]uint64{goneBack: 10}
	if !stuck(back, map[string]uint64{goneBack: 12}) {
		t.Error("a cluster that went back is not noticed while the store moves on")
	}
}
