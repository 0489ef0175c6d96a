package sandbox_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// What is not known is kept and written back; what is known is never taken for it.
func TestUnknownMembers(t *testing.T) {
	t.Parallel()
	const in = `{"image":"a","IMAGE":"b","resource_factor":1,"gpus":{"n":2,"class":"<&>"},"lifecycle":{"idle_seconds":5,"hibernate":true}}`
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
