//go:build !failpoints

// Package failpoint kills the process at a named point, for tests of what
// happens when a service dies between two side effects. It does nothing unless
// built with the tag failpoints.
package failpoint

// Hit does nothing in this build.
func Hit(string) {}
