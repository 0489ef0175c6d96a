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

// EncodeKnown writes known, a struct, and u beside its members. It leaves <, > and &
// to who encodes the whole.
func EncodeKnown(known any, u Unknown) ([]byte, error) {
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
		if _, taken := names[k]; !taken {
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

// DecodeKnown reads JSON into a struct, and returns what that has no members for.
// A member's name counts letter by letter: encoding/json would read "IMAGE" into
// Image, even over an "image" that comes before it.
func DecodeKnown(body []byte, known any) (Unknown, error) {
	names := membersOf(reflect.TypeOf(known).Elem())
	if onlyKnown(body, names) { // the rule
		return nil, json.Unmarshal(body, known)
	}
	var all Unknown
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, err
	}
	ours := Unknown{}
	for k := range names {
		if v, there := all[k]; there {
			ours[k] = v
			delete(all, k)
		}
	}
	body, err := plainJSON(ours)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(body, known); err != nil || len(all) == 0 {
		return nil, err
	}
	return all, nil
}

// onlyKnown reports whether each member of an object has one of the names, as it is
// written. It is as good as a decoder on JSON; of anything else it may say either.
func onlyKnown(body []byte, names map[string]struct{}) bool {
	depth, before := 0, byte(0)
	for i := 0; i < len(body); i++ {
		switch c := body[i]; c {
		case '{', '[':
			depth++
			before = c
		case '}', ']':
			depth--
		case ',', ':':
			before = c
		case '"':
			from := i + 1
			for i++; i < len(body) && body[i] != '"'; i++ {
				if body[i] == '\\' {
					i++
				}
			}
			if depth != 1 || before == ':' {
				continue
			}
			if _, ours := names[string(body[from:min(i, len(body))])]; !ours {
				return false
			}
		}
	}
	return true
}

var members sync.Map // reflect.Type → map[string]struct{}

// membersOf lists the JSON members of a struct.
func membersOf(t reflect.Type) map[string]struct{} {
	if found, ok := members.Load(t); ok {
		return found.(map[string]struct{})
	}
	names := map[string]struct{}{}
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "-" {
			names[name] = struct{}{}
		}
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
func (s Spec) MarshalJSON() ([]byte, error) { return EncodeKnown(plainSpec(s), s.Unknown) }

// UnmarshalJSON keeps what is unknown.
func (s *Spec) UnmarshalJSON(body []byte) (err error) {
	s.Unknown, err = DecodeKnown(body, (*plainSpec)(s))
	return err
}

// MarshalJSON writes what is unknown too.
func (r Route) MarshalJSON() ([]byte, error) { return EncodeKnown(plainRoute(r), r.Unknown) }

// UnmarshalJSON keeps what is unknown.
func (r *Route) UnmarshalJSON(body []byte) (err error) {
	r.Unknown, err = DecodeKnown(body, (*plainRoute)(r))
	return err
}

// MarshalJSON writes what is unknown too.
func (l Lifecycle) MarshalJSON() ([]byte, error) { return EncodeKnown(plainLifecycle(l), l.Unknown) }

// UnmarshalJSON keeps what is unknown.
func (l *Lifecycle) UnmarshalJSON(body []byte) (err error) {
	l.Unknown, err = DecodeKnown(body, (*plainLifecycle)(l))
	return err
}
