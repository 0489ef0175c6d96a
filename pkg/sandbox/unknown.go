package sandbox

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// Unknown holds the members that a newer version wrote into a value and that
// this one does not know. They go where the value goes, and are written back as
// they were: in an upgrade old and new versions write the same records.
type Unknown map[string]json.RawMessage

// Clone returns a copy that shares nothing.
func (u Unknown) Clone() Unknown {
	u = maps.Clone(u)
	for k, v := range u {
		u[k] = slices.Clone(v)
	}
	return u
}

// marshal writes known, a struct, and u beside its members. It leaves <, > and &
// to who encodes the whole.
func marshal(known any, u Unknown) ([]byte, error) {
	body, err := plainJSON(known)
	if err != nil || len(u) == 0 {
		return body, err
	}
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, err
	}
	names := membersOf(reflect.TypeOf(known))
	for k, v := range u {
		if _, taken := names[strings.ToLower(k)]; !taken {
			all[k] = v
		}
	}
	return plainJSON(all)
}

func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// DecodeKnown reads JSON into a struct, and reports false where that has members that
// the struct has none for, or is no JSON for it: the rule is that it has none, and
// they need not be looked for.
func DecodeKnown(body []byte, known any) bool {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	return d.Decode(known) == nil && len(bytes.TrimSpace(body[d.InputOffset():])) == 0
}

// unmarshal reads a struct and returns what it has no members for.
func unmarshal(body []byte, known any) (Unknown, error) {
	if DecodeKnown(body, known) {
		return nil, nil
	}
	if err := json.Unmarshal(body, known); err != nil {
		return nil, err
	}
	var all Unknown
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, err
	}
	names := membersOf(reflect.TypeOf(known).Elem())
	maps.DeleteFunc(all, func(k string, _ json.RawMessage) bool {
		_, ours := names[strings.ToLower(k)] // as encoding/json finds its fields
		return ours
	})
	if len(all) == 0 {
		return nil, nil
	}
	return all, nil
}

var members sync.Map // reflect.Type → map[string]struct{}

// membersOf lists the JSON members of a struct, in lower case.
func membersOf(t reflect.Type) map[string]struct{} {
	if found, ok := members.Load(t); ok {
		return found.(map[string]struct{})
	}
	names := map[string]struct{}{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names[strings.ToLower(name)] = struct{}{}
	}
	members.Store(t, names)
	return names
}

// Aliases without methods, so that encoding them is not encoding with them.
type (
	plainSpec      Spec
	plainRoute     Route
	plainLifecycle Lifecycle
)

// MarshalJSON writes what is unknown too.
func (s Spec) MarshalJSON() ([]byte, error) { return marshal(plainSpec(s), s.Unknown) }

// UnmarshalJSON keeps what is unknown.
func (s *Spec) UnmarshalJSON(body []byte) (err error) {
	s.Unknown, err = unmarshal(body, (*plainSpec)(s))
	return err
}

// MarshalJSON writes what is unknown too.
func (r Route) MarshalJSON() ([]byte, error) { return marshal(plainRoute(r), r.Unknown) }

// UnmarshalJSON keeps what is unknown.
func (r *Route) UnmarshalJSON(body []byte) (err error) {
	r.Unknown, err = unmarshal(body, (*plainRoute)(r))
	return err
}

// MarshalJSON writes what is unknown too.
func (l Lifecycle) MarshalJSON() ([]byte, error) { return marshal(plainLifecycle(l), l.Unknown) }

// UnmarshalJSON keeps what is unknown.
func (l *Lifecycle) UnmarshalJSON(body []byte) (err error) {
	l.Unknown, err = unmarshal(body, (*plainLifecycle)(l))
	return err
}
