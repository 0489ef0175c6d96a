package sandbox_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// What is not known is kept and written back; what is known is never taken for it.
func TestUnknownMembers(t *testing.T) {
	t.Parallel()
	const in = `{"image":"b","resource_factor":1,"gpus":{"n":2,"class":"<&>"},"lifecycle":{"idle_seconds":5,"hibernate":true}}`
	var spec sandbox.Spec
	if err := json.Unmarshal([]byte(in), &spec); err != nil {
		t.Fatal(err)
	}
	if len(spec.Unknown) != 1 || len(spec.Lifecycle.Unknown) != 1 || spec.Image != "b" {
		t.Fatalf("%+v, %+v", spec, spec.Lifecycle)
	}
	spec.Unknown["image"] = json.RawMessage(`"evil"`)
	out, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	const after = `{"image":"b","resource_factor":1,"gpus":{"n":2,"class":"<&>"},"lifecycle":{"idle_seconds":5,"hibernate":true}}`
	if json.Unmarshal(out, &got) != nil || json.Unmarshal([]byte(after), &want) != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s, want %s", out, after)
	}
}

// A value without any costs nothing, and one that was used before keeps nothing.
func TestNoUnknownMembers(t *testing.T) {
	t.Parallel()
	route := sandbox.Route{Unknown: sandbox.Unknown{"ssh": json.RawMessage(`1`)}}
	if err := json.Unmarshal([]byte(`{"label":"l","url":"u","work_hosts":null}`), &route); err != nil || route.Unknown != nil {
		t.Errorf("%+v, %v", route, err)
	}
	if err := json.Unmarshal([]byte(`{"label":1}`), &route); err == nil {
		t.Error("a label that is a number is read")
	}
}

// A name counts letter by letter, as whoever wrote it meant it: another is neither read
// for ours, wherever it stands, nor lost.
func TestNamesCountLetterByLetter(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in      string
		unknown []string
	}{
		"after ours":             {`{"image":"a","IMAGE":"evil"}`, []string{"IMAGE"}},
		"before ours":            {`{"Image":"evil","image":"a"}`, []string{"Image"}},
		"with spaces":            {"{ \"image\" : \"a\" ,\n\"IMAGE\" : \"evil\" }", []string{"IMAGE"}},
		"of another type":        {`{"image":"a","IMAGE":{"image":"evil"},"Command":1}`, []string{"Command", "IMAGE"}},
		"one that folds to ours": {`{"image":"a","reſource_factor":9}`, []string{"reſource_factor"}},
		"ours, escaped":          {`{"im\u0061ge":"a"}`, nil},
		"another, escaped":       {`{"image":"a","\u0049mage":"evil"}`, []string{"Image"}},
		"after a quote in text":  {`{"working_dir":"\\\",","image":"a","IMAGE":"\"evil"}`, []string{"IMAGE"}},
		"a member inside":        {`{"environment":{"IMAGE":"x"},"command":["IMAGE","IMAGE"],"image":"a"}`, nil},
		"our name for none":      {`{"image":"a","-":1}`, []string{"-"}},
	} {
		var spec sandbox.Spec
		if err := json.Unmarshal([]byte(c.in), &spec); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := slices.Sorted(maps.Keys(spec.Unknown)); !slices.Equal(got, c.unknown) || spec.Image != "a" || spec.ResourceFactor != 0 {
			t.Errorf("%s: %q is unknown of %+v", name, got, spec)
		}
		body, err := json.Marshal(spec)
		var back sandbox.Spec
		if err != nil || json.Unmarshal(body, &back) != nil || !reflect.DeepEqual(back, spec) {
			t.Errorf("%s: %+v came back as %+v, %v", name, spec, back, err)
		}
	}
}

// Whatever the JSON, what is not ours is kept as it is.
func FuzzUnknownMembers(f *testing.F) {
	full := sandbox.Route{VSCodeURL: "v"}
	body, err := json.Marshal(full)
	if err != nil {
		f.Fatal(err)
	}
	var ours map[string]any
	if err := json.Unmarshal(body, &ours); err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte(`{"label":"\\","URL":["label",{"x":1}], "\u0075rl":"u","work_hosts":{"URL":1}}`))
	f.Add([]byte(`[{"label":1}]`))
	f.Add([]byte(`{"label":"x`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var route sandbox.Route
		if json.Unmarshal(body, &route) != nil {
			return
		}
		var want sandbox.Unknown
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatalf("%q is read: %v", body, err)
		}
		maps.DeleteFunc(want, func(k string, _ json.RawMessage) bool { _, is := ours[k]; return is })
		if len(want) != len(route.Unknown) || len(want) > 0 && !reflect.DeepEqual(want, route.Unknown) {
			t.Errorf("of %q\n     %q is unknown,\nwant %q", body, route.Unknown, want)
		}
	})
}
