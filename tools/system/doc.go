// Package system holds the tests that need whole processes on a whole cluster:
// services that die, NATS that loses its store, rights that are taken away. Each
// test starts stacks of its own, in namespaces of its own, on the testbed's
// cluster (build tag system).
package system
