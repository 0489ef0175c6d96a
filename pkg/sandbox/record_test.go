package sandbox_test

import (
	"testing"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// Where a record does not say that it never had another sandbox, it may have had one.
func TestOneSandbox(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		r    sandbox.Record
		want bool
	}{
		"its first":                       {sandbox.Record{RuntimeID: runtimeA, Original: runtimeA}, true},
		"its next":                        {sandbox.Record{RuntimeID: runtimeB, Original: runtimeA}, false},
		"of an earlier version":           {sandbox.Record{RuntimeID: runtimeA}, false},
		"of nothing, as nobody writes it": {sandbox.Record{}, false},
	} {
		if got := tt.r.OneSandbox(); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
