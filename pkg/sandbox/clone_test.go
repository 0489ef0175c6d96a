package sandbox_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// fill sets all that can be reached from p to something that is not zero.
func fill(p any) { fillValue(reflect.ValueOf(p).Elem()) }

func fillValue(v reflect.Value) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(born))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillValue(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			fillValue(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fillValue(v.Index(i))
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fillValue(key)
		fillValue(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString("x")
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(7)
	case reflect.Bool:
		v.SetBool(true)
	}
}

// A copy equals its original, and nothing that is done to it reaches that one.
func TestCloneSharesNothing(t *testing.T) {
	t.Parallel()
	var (
		record sandbox.Record
		view   sandbox.View
		spec   sandbox.Spec
		route  sandbox.Route
	)
	for _, p := range []any{&record, &view, &spec, &route} {
		fill(p)
	}
	recordCopy, viewCopy, specCopy, routeCopy := record.Clone(), view.Clone(), spec.Clone(), route.Clone()
	for name, c := range map[string]struct{ original, clone any }{
		"record": {&record, recordCopy},
		"view":   {&view, viewCopy},
		"spec":   {&spec, &specCopy},
		"route":  {&route, &routeCopy},
	} {
		before := copyValue(reflect.ValueOf(c.original)).Interface()
		if !reflect.DeepEqual(c.original, c.clone) {
			t.Errorf("%s: %+v became %+v", name, c.original, c.clone)
		}
		spoil(c.clone)
		if !reflect.DeepEqual(c.original, before) {
			t.Errorf("%s: a change of the copy reached the original: %+v", name, c.original)
		}
	}
}

func TestCloneOfNothing(t *testing.T) {
	t.Parallel()
	if (*sandbox.Record)(nil).Clone() != nil || (*sandbox.View)(nil).Clone() != nil {
		t.Error("a copy of nil is not nil")
	}
	if s := (sandbox.Spec{}).Clone(); !reflect.DeepEqual(s, sandbox.Spec{}) {
		t.Errorf("%+v", s)
	}
}

func TestWants(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		record      *sandbox.Record
		runtimeID   string
		incarnation int64
		pod, volume bool
	}{
		"running":             {newRecord(), runtimeA, 1, true, true},
		"another incarnation": {newRecord(), runtimeA, 2, false, true},
		"another runtime":     {newRecord(), runtimeB, 1, false, false},
		"paused":              {newRecord(desired(sandbox.Paused)), runtimeA, 1, false, true},
		"stopped":             {newRecord(desired(sandbox.Stopped)), runtimeA, 1, false, false},
		"no record":           {nil, runtimeA, 1, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := c.record.Wants(c.runtimeID, c.incarnation); got != c.pod {
				t.Errorf("wants the pod: %v", got)
			}
			if got := c.record.WantsVolume(c.runtimeID); got != c.volume {
				t.Errorf("wants the volume: %v", got)
			}
		})
	}
}

func TestRecordOrder(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]uint64{"": 0, "12": 12, "x": 0, "18446744073709551615": 1<<64 - 1, "18446744073709551616": 0, "-1": 0} {
		r := newRecord(func(r *sandbox.Record) { r.ResourceVersion = version })
		if got := r.Order(); got != want {
			t.Errorf("%q: %d", version, got)
		}
	}
}
