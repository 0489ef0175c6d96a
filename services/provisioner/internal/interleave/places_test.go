//go:build apiserver

package interleave_test

import (
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/quota"
)

// limits are those of a key of the walk's own.
func (k *walk) limits() *sandbox.Limits { return &sandbox.Limits{Key: k.sess, Sandboxes: 1} }

// watchPlaces: what runs for a key with limits is counted, at any moment. As a
// ledger never takes more than its limit, a key never runs more than that.
func (k *walk) watchPlaces() error {
	if !k.limited {
		return nil
	}
	live, err := k.truth.Record(k.ctx, k.name)
	if err != nil || live == nil || live.Desired != sandbox.Running {
		return err
	}
	l, err := k.truth.Ledger(k.ctx, tenant, k.sess)
	if err != nil {
		return err
	}
	if l != nil {
		if _, ok := l.Places[k.name][live.Place]; ok {
			return nil
		}
	}
	return broken("counted", "the sandbox runs (gen %d), and the ledger does not count it: %+v", live.Generation, l)
}

// restingPlaces: without a death the ledger holds what runs, and nothing more.
// After one, whoever needs the place gets it a minute later, but not that of what
// runs.
func (k *walk) restingPlaces(rec *sandbox.Record) error {
	if !k.limited {
		return nil
	}
	runs := rec != nil && rec.Desired == sandbox.Running
	l, err := k.truth.Ledger(k.ctx, tenant, k.sess)
	if err != nil {
		return err
	}
	held := l != nil && l.Places[k.name] != nil
	if held && !runs && !k.died {
		return broken("room", "nothing runs, and the ledger counts %+v", l.Places[k.name])
	}
	other := quota.Ticket{Record: sandbox.RecordName(tenant, "another"), Place: "another", Command: 1 << 62}
	err = quota.NewKeeper(k.truth, 0).Take(k.ctx, tenant, *k.limits(), other, k.now.Add(2*time.Minute))
	switch {
	case err == nil && runs:
		return broken("room", "another sandbox got the place of one that runs")
	case sandbox.CodeOf(err) == sandbox.CodeQuota && !runs:
		return broken("room", "nothing runs, and there is no room: %v", err)
	case err != nil && sandbox.CodeOf(err) != sandbox.CodeQuota:
		return err
	}
	return nil
}
