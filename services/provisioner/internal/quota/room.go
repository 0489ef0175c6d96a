package quota

import (
	"errors"
	"fmt"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// errFull is inside a refusal that may be wrong: places whose records do not run
// any more may stand in the ledger.
var errFull = errors.New("the ledger is full")

// room says why a ticket does not fit, or nil. A record that has a place already
// keeps it, even where limits were lowered since.
func (l *Ledger) room(t Ticket, limits sandbox.Limits) error {
	if err := fits(t, limits); err != nil {
		return err
	}
	held := len(l.Places)
	cpu, memory := l.used(t.Record)
	ownCPU, ownMemory, own := l.own(t.Record)
	others := held
	if l.Places[t.Record] != nil {
		others--
	}
	most := limits.Sandboxes
	if most == 0 {
		most = sandbox.MaxHeld
	}
	switch {
	case !own && others >= most:
		return full(sandbox.ResourceSandboxes, most)
	case limits.CPU > 0 && t.CPU > ownCPU && cpu+t.CPU > limits.CPU:
		return full(sandbox.ResourceCPU, held)
	case limits.Memory > 0 && t.Memory > ownMemory && memory+t.Memory > limits.Memory:
		return full(sandbox.ResourceMemory, held)
	}
	return nil
}

// full is the sentence that clients match whole. n is the number of sandboxes
// that the key may run, or that fill its processors or memory.
func full(what sandbox.Resource, n int) error {
	return &sandbox.Error{
		Code: sandbox.CodeQuota, Resource: what, Err: fmt.Errorf("%s: %w", what, errFull),
		Message: fmt.Sprintf("Active runtime capacity (%d) is exhausted for this key; pause or stop a running sandbox before retrying", n),
	}
}

// fits refuses what no waiting makes room for.
func fits(t Ticket, limits sandbox.Limits) error {
	var err *sandbox.Error
	switch {
	case limits.CPU > 0 && t.CPU > limits.CPU:
		err = sandbox.Errorf(sandbox.CodeQuota, "the sandbox asks for %d CPU millicores, all sandboxes of this key together may have %d", t.CPU, limits.CPU)
		err.Resource = sandbox.ResourceCPU
	case limits.Memory > 0 && t.Memory > limits.Memory:
		err = sandbox.Errorf(sandbox.CodeQuota, "the sandbox asks for %d bytes of memory, all sandboxes of this key together may have %d", t.Memory, limits.Memory)
		err.Resource = sandbox.ResourceMemory
	default:
		return nil
	}
	return err
}

// rate counts a start, or says when there may be one.
func (l *Ledger) rate(t Ticket, perMinute int, now time.Time) error {
	if perMinute == 0 {
		l.Starts = nil
		return nil
	}
	begin := now.Add(-window).UnixMilli()
	kept := make([]Start, 0, len(l.Starts)+1)
	for _, s := range l.Starts {
		if s.Command == t.Command {
			return nil // its own, of an earlier attempt
		}
		if s.At > begin {
			kept = append(kept, s)
		}
	}
	if over := len(kept) - perMinute; over >= 0 {
		// Clocks of provisioners differ: never longer than the window.
		wait := time.Duration(kept[over].At-begin) * time.Millisecond
		return &sandbox.Error{
			Code: sandbox.CodeRateLimited, Resource: sandbox.ResourceStarts, RetryAfter: min(wait, window),
			Message: fmt.Sprintf("this key may make %d starts per minute; try again later", perMinute),
		}
	}
	kept = append(kept, Start{Command: t.Command, At: now.UnixMilli()})
	l.Starts = kept
	return nil
}
