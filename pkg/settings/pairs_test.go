package settings_test

import (
	"maps"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/settings"
)

func TestPairs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in   string
		want map[string]string
		ok   bool
	}{
		"nothing":             {"", nil, true},
		"spaces":              {"  ", nil, true},
		"one":                 {"a=b", map[string]string{"a": "b"}, true},
		"two":                 {"a=b,c=d", map[string]string{"a": "b", "c": "d"}, true},
		"spaces around":       {" a = b , c=d ", map[string]string{"a": "b", "c": "d"}, true},
		"no value":            {"sysbox-runc=", map[string]string{"sysbox-runc": ""}, true},
		"= in the value":      {"a=b=c", map[string]string{"a": "b=c"}, true},
		"a later one counts":  {"a=b,a=c", map[string]string{"a": "c"}, true},
		"no =":                {"a", nil, false},
		"no name":             {"=b", nil, false},
		"no name but a space": {" =b", nil, false},
		"a comma at the end":  {"a=b,", nil, false},
		"two commas":          {"a=b,,c=d", nil, false},
		"JSON":                {`{"a":"b,c=d","e":""}`, map[string]string{"a": "b,c=d", "e": ""}, true},
		"JSON, nothing":       {"{}", nil, true},
		"JSON, spaces":        {"\n {\"a\": \"b\"}\n", map[string]string{"a": "b"}, true},
		"JSON, a number":      {`{"a":1}`, nil, false},
		"JSON, no name":       {`{"":"b"}`, nil, false},
		"JSON, a blank name":  {`{" ":"b"}`, nil, false},
		"JSON, cut":           {`{"a":"b"`, nil, false},
		"JSON, more after":    {`{"a":"b"} x`, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := settings.Pairs(c.in)
			if (err == nil) != c.ok || !maps.Equal(got, c.want) {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

func TestPairsOfAnErrorAreNone(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"a=b,c", `{"a":"b","":"c"}`, `{"a":"b","c":1}`} {
		if got, err := settings.Pairs(in); err == nil || got != nil {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
}
