package podwatch

// listing is what a metadata-only LIST showed: names and resourceVersions.
type listing struct {
	version uint64
	objects map[string]uint64
}

// goneBack stands among the differences of a cluster whose resourceVersions
// went back. No object has an empty name.
const goneBack = ""

// differences lists the objects of which the store holds less than l showed:
// name → what the store has, 0 for nothing. before is the store's version from
// before the LIST.
func (s *store[T]) differences(l listing, before uint64) map[string]uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := map[string]uint64{}
	if l.version < before {
		out[goneBack] = before
	}
	for name, rv := range l.objects {
		switch e := s.byName[name]; {
		case e == nil:
			out[name] = 0
		case e.rv < rv:
			out[name] = e.rv
		}
	}
	for name, e := range s.byName {
		if _, ok := l.objects[name]; !ok && e.rv <= l.version {
			out[name] = e.rv
		}
	}
	return out
}

// stuck reports whether a difference was seen twice: the watch has not shown in
// between what it should have. A watch that only lags has moved on.
func stuck(first, second map[string]uint64) bool {
	for name, have := range first {
		if again, ok := second[name]; ok && (again == have || name == goneBack) {
			return true
		}
	}
	return false
}
