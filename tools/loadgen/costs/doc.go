// Package costs counts what Sandbar asks of Kubernetes and of NATS for each thing
// that a client asks of it, with few sandboxes and with many (build tag system). The
// counts are the same on every machine.
package costs
