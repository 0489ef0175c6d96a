// Package conformance holds the start bodies of the known clients. Its tests,
// built with the tag `system`, check the HTTP contract against a running
// Sandbar; README.md lists them.
package conformance
