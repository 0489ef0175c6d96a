package sandbox_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

func TestErrors(t *testing.T) {
	t.Parallel()
	inner := fmt.Errorf("dial 10.0.0.1: %w", io.ErrUnexpectedEOF)
	for name, c := range map[string]struct {
		err     error
		code    sandbox.Code
		message string
	}{
		"none":    {nil, "", "internal error"},
		"foreign": {inner, sandbox.CodeInternal, "internal error"},
		"plain":   {sandbox.Errorf(sandbox.CodeQuota, "%d is too many", 3), sandbox.CodeQuota, "3 is too many"},
		"around":  {sandbox.Wrap(inner, sandbox.CodeUnavailable, "try again"), sandbox.CodeUnavailable, "try again"},
		"wrapped": {fmt.Errorf("start: %w", sandbox.Errorf(sandbox.CodeNotFound, "gone")), sandbox.CodeNotFound, "gone"},
		"joined":  {errors.Join(io.EOF, sandbox.Errorf(sandbox.CodeConflict, "busy")), sandbox.CodeConflict, "busy"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := sandbox.CodeOf(c.err); got != c.code {
				t.Errorf("code %q, want %q", got, c.code)
			}
			if got := sandbox.MessageOf(c.err); got != c.message {
				t.Errorf("message %q, want %q", got, c.message)
			}
		})
	}
	err := sandbox.Wrap(inner, sandbox.CodeTimeout, "no answer")
	if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "10.0.0.1") || strings.Contains(sandbox.MessageOf(err), "10.0.0.1") {
		t.Errorf("%v, %s", err, sandbox.MessageOf(err))
	}
}
