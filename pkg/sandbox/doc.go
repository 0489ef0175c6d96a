// Package sandbox holds the nouns of Sandbar and every decision about them:
// what a command does to a record (Decide), what readers see of a record and
// its pod (Observe), and what the cluster holds that no record wants (Drift).
// All of it is pure: no clock, no network, no Kubernetes types. Standard
// library only.
package sandbox
