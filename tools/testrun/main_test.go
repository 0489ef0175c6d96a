package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/tools/internal/repo"
)

func TestChoose(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ names, want string }{
		"all":                    {"", "unit,apiserver,system,robustness,openhands"},
		"one":                    {"system", "system"},
		"in the table's order":   {"system,unit", "unit,system"},
		"a name that is unknown": {"unit,nothing", `no phase "nothing"; there are unit, apiserver, system, robustness, openhands`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			chosen, err := choose(phases(), tt.names)
			got := strings.Join(phaseNames(chosen), ",")
			if err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("choose(%q) = %q, want %q", tt.names, got, tt.want)
			}
		})
	}
}

// TestPhasesCanRun: what nobody notices in the table until the hour when it is needed.
func TestPhasesCanRun(t *testing.T) {
	t.Parallel()
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range phases() {
		for _, c := range append(p.Setup, p.Teardown...) {
			if c.Timeout <= 0 || len(c.Args) == 0 || c.Name == "" {
				t.Errorf("%s: command %+v wants a name, arguments and a time limit", p.Name, c)
			}
		}
		for _, tests := range p.Tests {
			if tests.Timeout <= 0 {
				t.Errorf("%s: %s has no time limit", p.Name, tests.Module)
			}
			if _, err := os.Stat(filepath.Join(root, tests.Module, "go.mod")); err != nil {
				t.Errorf("%s: %v", p.Name, err)
			}
		}
	}
}

func TestALongRunHasItsTime(t *testing.T) {
	t.Parallel()
	for asked, want := range map[string]time.Duration{"": 15 * time.Minute, "nonsense": 15 * time.Minute, "1h": 72 * time.Minute} {
		if got := robustnessLimit(asked); got != want {
			t.Errorf("robustnessLimit(%q) = %s, want %s", asked, got, want)
		}
	}
}

func TestBadFlags(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-nonsense"}, {"-phase", "nothing"}, {"unit"}} {
		var out, problems strings.Builder
		if code := run(t.Context(), args, os.Getenv, &out, &problems); code != 2 || out.Len() > 0 {
			t.Errorf("%q: code %d, %q", args, code, out.String())
		}
	}
}
