package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestCommandLine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args   []string
		code   int
		out    string
		errors string
	}{
		"list":               {[]string{"-list"}, 0, "start-stub", ""},
		"list of some":       {[]string{"-list", "-run", "^take"}, 0, "takeover", ""},
		"none matches":       {[]string{"-run", "nothing"}, 2, "", `no benchmark matches "nothing"`},
		"no regexp":          {[]string{"-run", "("}, 2, "", "-run"},
		"too short":          {[]string{"-duration", "1ms"}, 2, "", "-duration of at least 1s"},
		"no round":           {[]string{"-rounds", "0"}, 2, "", "-rounds and -rate of at least 1"},
		"something else":     {[]string{"start"}, 2, "", "nothing else"},
		"a limit that isn't": {[]string{"limit", "other"}, 1, "", "usage: limit prepared"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, errors bytes.Buffer
			if code := run(t.Context(), c.args, &out, &errors); code != c.code {
				t.Errorf("exit %d, want %d", code, c.code)
			}
			if !strings.Contains(out.String(), c.out) || !strings.Contains(errors.String(), c.errors) {
				t.Errorf("output %q, errors %q", out.String(), errors.String())
			}
			if name == "list of some" && strings.Contains(out.String(), "start-stub") {
				t.Error("lists what does not match")
			}
		})
	}
}
