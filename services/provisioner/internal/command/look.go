package command

import (
	"context"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// namedPods is up to which incarnation pods are read by name. A LIST is worth ten
// GETs to Kubernetes' priority and fairness, and waits for its cache.
const namedPods = 8

// pods returns the pods of a record, and the order of the list, 0 where they can be named
// and nothing is listed. A pod whose name this attempt has just given is not looked for.
func (r *Runner) pods(ctx context.Context, rec *sandbox.Record, made fresh, how manner) ([]sandbox.Pod, uint64, error) {
	if how.list || !rec.OneSandbox() || rec.Incarnation > namedPods {
		return r.Cluster.Pods(ctx, rec.Name)
	}
	last := rec.Incarnation
	if made.pod {
		last--
	}
	var out []sandbox.Pod
	for incarnation := int64(1); incarnation <= last; incarnation++ {
		pod, err := r.Cluster.Pod(ctx, sandbox.PodName(rec.RuntimeID, incarnation))
		if err != nil {
			return nil, 0, err
		}
		if pod != nil {
			out = append(out, *pod)
		}
	}
	return out, 0, nil
}

// others returns what a record has besides pods; nothing where it wants all of it.
func (r *Runner) others(ctx context.Context, rec *sandbox.Record, how manner) ([]sandbox.Object, error) {
	switch {
	case how.list || !rec.OneSandbox():
		return r.Cluster.Objects(ctx, rec.Name)
	case rec.WantsVolume(rec.RuntimeID):
		return nil, nil // there is no other name that something of it could have
	}
	return r.Cluster.ObjectsOf(ctx, rec.RuntimeID)
}
