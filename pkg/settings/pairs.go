package settings

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Pairs reads a map from "name=value,name2=value2" or from a JSON object of
// strings. A value may be empty; a name may not.
func Pairs(s string) (map[string]string, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return nil, nil
	}
	out := map[string]string{}
	if strings.HasPrefix(s, "{") {
		if err := json.Unmarshal([]byte(s), &out); err != nil {
			return nil, fmt.Errorf("no JSON object of strings: %w", err)
		}
		for name := range out {
			if strings.TrimSpace(name) == "" {
				return nil, errors.New("a value has no name")
			}
		}
		return out, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		name, value, ok := strings.Cut(part, "=")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, fmt.Errorf("%q is not name=value", part)
		}
		out[name] = strings.TrimSpace(value)
	}
	return out, nil
}
