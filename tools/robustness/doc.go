// Package robustness runs random traffic and random faults against a whole
// installation, records what everybody saw, and checks that history against a
// model afterwards: the shape of etcd's tests/robustness. The test that does so
// has the build tag robustness; `make robustness SEED=… DURATION=…` runs it.
package robustness
