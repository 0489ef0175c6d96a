//go:build system

package conformance_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/tools/conformance"
)

// Every client's own start body makes a sandbox that serves, runs the client's
// command and has the client's environment. Checks 1 to 3 are about three of
// them in more detail.
func TestClientBodies(t *testing.T) {
	t.Parallel()
	for _, name := range try(conformance.Bodies()).or(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := startBody(t, name, newSession())
			r := startReady(t, defaultAPI(), body)
			aliveNow(t, r)
			agent := agentOf(r)
			environment, _ := body["environment"].(map[string]any)
			for variable, want := range environment {
				if got, _, err := agent.Variable(t.Context(), variable); err != nil || got != want {
					t.Errorf("%s is %q, %v; want %q", variable, got, err, want)
				}
			}
			argv := try(agent.Argv(t.Context())).or(t)
			if want := command(body["command"]); want != nil && !slices.Equal(argv, want) {
				t.Errorf("the container runs %q, want %q", argv, want)
			}
		})
	}
}

// command is the command of a start body as a list, nil for the image's own.
func command(value any) []string {
	switch c := value.(type) {
	case string:
		return strings.Fields(c) // none of the fixtures quotes
	case []any:
		var list []string
		for _, arg := range c {
			list = append(list, fmt.Sprint(arg))
		}
		return list
	}
	return nil
}
