// Package interleave holds a test only: it runs the real code of provisioner,
// views and decisions on a real API server and an embedded NATS server, step by
// step in an order that a seed chooses, with redelivered, delayed, dying and
// concurrent commands. It shows that the command protocol holds, and that each
// of its rules is needed: without it the test finds the trace that breaks.
package interleave
