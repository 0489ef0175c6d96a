//go:build !failpoints

// Package failpoint breaks a service at a named point between two side effects, for
// tests of what happens then. It does nothing unless built with the tag failpoints.
package failpoint

import "context"

// Hit does nothing in this build.
func Hit(context.Context, string) {}

// HitOf does nothing in this build.
func HitOf(_ context.Context, _, _ string) {}

// After returns err in this build.
func After(_ context.Context, _ string, err error) error { return err }
