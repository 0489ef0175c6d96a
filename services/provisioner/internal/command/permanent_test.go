package command_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/cluster"
)

var (
	noRoom  = sandbox.Errorf(sandbox.CodeQuota, "exceeded quota: compute, requested: pods=1, used: pods=1, limited: pods=1")
	invalid = sandbox.Errorf(sandbox.CodeInvalid, "Kubernetes refuses it: spec.containers[0].image: Invalid value")
	policy  = sandbox.Errorf(sandbox.CodeForbidden, "the cluster's policy refuses it")
	large   = sandbox.Errorf(sandbox.CodeTooLarge, "the request is too large for Kubernetes")
)

// always fails with err.
func always(err error) fault { return func(int) error { return err } }

// What Kubernetes will never carry out is taken back, and the caller is told.
func TestPermanent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		from situation
		verb sandbox.Verb
		want string
	}{
		{none, sandbox.Start, "stopped 1, 0 pods, 0 objects, stopped"},
		{stopped, sandbox.Start, "stopped 2, 0 pods, 0 objects, stopped"},
		{paused, sandbox.Resume, "paused 2, 0 pods, 2 objects, paused"},
		{paused, sandbox.Start, "paused 2, 0 pods, 2 objects, paused"},
		// What had failed stays as it is: its volume with it.
		{failed, sandbox.Start, "running 2, 1 pods, 2 objects, starting"},
		{failed, sandbox.Resume, "running 2, 1 pods, 2 objects, starting"},
	} {
		for _, kind := range []string{createPod, createVolume, createRoute} {
			for _, cause := range []*sandbox.Error{noRoom, invalid, policy, large} {
				t.Run(fmt.Sprint(tt.verb, " when ", tt.from, ", ", kind, " ", cause.Code), func(t *testing.T) {
					t.Parallel()
					b := inSituation(t, tt.from)
					was := b.record()
					b.before[kind] = always(fmt.Errorf("create: %w", cause))
					c, seq := b.command(tt.verb)
					out, err := b.Run(t.Context(), c, seq)
					if err != nil || sandbox.CodeOf(out.Err) != cause.Code || sandbox.MessageOf(out.Err) != cause.Message || out.View != nil {
						t.Fatalf("%v, %+v", err, out)
					}
					if tt.from == failed { // the other objects came at the same time, or not
						if r := b.record(); r.Desired != sandbox.Running || r.Incarnation != 2 || len(b.objects) != 2 {
							t.Errorf("%s", b.world())
						}
						return
					}
					b.is(tt.want)
					r := b.record()
					if r.Desired == sandbox.Stopped && r.Spec.Image != "" {
						t.Errorf("the spec of a stopped one stays: %+v", r.Spec)
					}
					if r.Desired == sandbox.Paused && (r.Spec.Image != was.Spec.Image || r.RuntimeID != was.RuntimeID) {
						t.Errorf("%+v became %+v", was, r)
					}
					if err := b.Follow(t.Context(), out); err != nil {
						t.Error(err)
					}
					// When there is room again, all goes well.
					b.forget()
					b.pass(time.Minute)
					if r.Desired == sandbox.Stopped {
						b.do(sandbox.Start)
					} else {
						b.do(sandbox.Resume)
					}
					if r := b.record(); r.Desired != sandbox.Running || len(b.pods) != 1 || len(b.objects) != 2 {
						t.Errorf("%s", b.world())
					}
				})
			}
		}
	}
}

// A quota on records: nothing is there, and the caller is told.
func TestPermanentAtTheRecord(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.before[createRecord] = always(noRoom)
	c, seq := b.command(sandbox.Start)
	out, err := b.Run(t.Context(), c, seq)
	if err != nil || sandbox.CodeOf(out.Err) != sandbox.CodeQuota {
		t.Fatalf("%v, %+v", err, out)
	}
	b.is("no record, 0 pods, 0 objects")
}

// The attempt that wrote the record died, or the API server was down; the next
// one is refused for ever. It takes back what the first began.
func TestPermanentAtRedelivery(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		from situation
		verb sandbox.Verb
		want string
	}{
		{none, sandbox.Start, "stopped 1, 0 pods, 0 objects, stopped"},
		{stopped, sandbox.Start, "stopped 2, 0 pods, 0 objects, stopped"},
		{paused, sandbox.Resume, "paused 2, 0 pods, 2 objects, paused"},
		{paused, sandbox.Start, "paused 2, 0 pods, 2 objects, paused"},
	} {
		t.Run(fmt.Sprint(tt.verb, " when ", tt.from), func(t *testing.T) {
			t.Parallel()
			b := inSituation(t, tt.from)
			b.before[createPod] = func(n int) error {
				if n == 1 {
					return errDown
				}
				return noRoom
			}
			c, seq := b.command(tt.verb)
			if out, err := b.Run(t.Context(), c, seq); !errors.Is(err, errDown) || out.Err != nil {
				t.Fatalf("%v, %+v", err, out)
			}
			b.pass(time.Second)
			out, err := b.Run(t.Context(), c, seq)
			if err != nil || sandbox.CodeOf(out.Err) != sandbox.CodeQuota {
				t.Fatalf("%v, %+v", err, out)
			}
			b.is(tt.want)
		})
	}
}

// A redelivery finds a pod that was made: a quota that is full since takes
// nothing back.
func TestPermanentNeverStopsWhatRuns(t *testing.T) {
	t.Parallel()
	for _, verb := range []sandbox.Verb{sandbox.Start, sandbox.Resume} {
		t.Run(string(verb), func(t *testing.T) {
			t.Parallel()
			b := inSituation(t, running)
			b.before[createRoute] = always(noRoom) // another object of a sandbox that has its pod
			c, seq := b.command(verb)
			out, err := b.Run(t.Context(), c, seq)
			if err != nil || sandbox.CodeOf(out.Err) != sandbox.CodeQuota {
				t.Fatalf("%v, %+v", err, out)
			}
			if out, err = b.Run(t.Context(), c, seq); out.View != nil {
				t.Errorf("%v, %+v", err, out)
			}
			b.is("running 1, 1 pods, 2 objects, starting")
		})
	}
}

// Another start joins while the first is taken back: one of them must end what
// neither can have. A sandbox that lost its pod long ago is no such one.
func TestRollBackJoined(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		joined func(*bench)
		want   string
	}{
		"neither has room":       {func(*bench) {}, "stopped 1, 0 pods, 0 objects, stopped"},
		"the other one had luck": {func(b *bench) { _, _ = b.create(b.record()) }, "running 1, 1 pods"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.before[createPod] = always(noRoom)
			b.before[updateRecord] = func(n int) error {
				if n == 1 {
					b.change(func(r *sandbox.Record) { r.Fence, r.LastCommand = 500, "another" })
					tt.joined(b)
				}
				return nil
			}
			c, seq := b.command(sandbox.Start)
			out, err := b.Run(t.Context(), c, seq)
			if err != nil || sandbox.CodeOf(out.Err) != sandbox.CodeQuota {
				t.Fatalf("%v, %+v", err, out)
			}
			if got := b.world(); !strings.HasPrefix(got, tt.want) || b.record().Fence != 500 {
				t.Errorf("there is: %s; want: %s", got, tt.want)
			}
		})
	}
}

func TestPodLostWithoutRoom(t *testing.T) {
	t.Parallel()
	b := inSituation(t, running)
	b.pass(time.Hour)
	clear(b.pods)
	b.before[createPod] = always(noRoom)
	c, seq := b.command(sandbox.Start)
	for range 2 { // and delivered again
		if out, err := b.Run(t.Context(), c, seq); err != nil || sandbox.CodeOf(out.Err) != sandbox.CodeQuota {
			t.Fatalf("%v, %+v", err, out)
		}
		b.is("running 1, 0 pods, 2 objects, starting")
	}
}

// What can never be made does not keep a pause or stop from doing its part.
func TestPermanentDoesNotHoldUp(t *testing.T) {
	t.Parallel()
	for _, verb := range []sandbox.Verb{sandbox.Pause, sandbox.Stop} {
		b := inSituation(t, running)
		for _, kind := range []string{createPod, createVolume, createRoute} {
			b.before[kind] = always(noRoom)
		}
		b.do(verb)
	}
}

// A pause that comes while a start is taken back wins.
func TestRollBackBeaten(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.before[createPod] = always(noRoom)
	b.before[updateRecord] = func(n int) error {
		if n == 1 {
			b.change(func(r *sandbox.Record) { r.Generation++; r.Fence, r.Desired = 500, sandbox.Paused })
		}
		return nil
	}
	c, seq := b.command(sandbox.Start)
	out, err := b.Run(t.Context(), c, seq)
	if err != nil || sandbox.CodeOf(out.Err) != sandbox.CodeQuota {
		t.Fatalf("%v, %+v", err, out)
	}
	if r := b.record(); r.Desired != sandbox.Paused || r.Fence != 500 {
		t.Errorf("%+v", r)
	}
}

// The taking back fails: it is tried again, nothing is told.
func TestRollBackFails(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{updateRecord, deleteObject, putView} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			// Volume and route stand before the pod is refused.
			var made sync.WaitGroup
			made.Add(2)
			once := func(n int) error {
				if n == 1 {
					made.Done()
				}
				return nil
			}
			b.after[createVolume], b.after[createRoute] = once, once
			b.before[createPod] = func(int) error { made.Wait(); return noRoom }
			b.before[kind] = func(n int) error {
				if n == 1 {
					return errDown
				}
				return nil
			}
			c, seq := b.command(sandbox.Start)
			out, err := b.Run(t.Context(), c, seq)
			if !errors.Is(err, errDown) || out.Err != nil || out.View != nil {
				t.Fatalf("%v, %+v", err, out)
			}
			out, err = b.Run(t.Context(), c, seq)
			if err != nil || out.Err == nil || out.View != nil {
				t.Fatalf("%v, %+v", err, out)
			}
			if r := b.record(); r.Desired != sandbox.Stopped {
				t.Errorf("%+v", r)
			}
		})
	}
}

// An object of the name is ending: converge waits until it is gone, as long as
// the attempt lasts.
func TestEnding(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		kind  string
		after time.Duration // until it is gone
		gone  bool
	}{
		"the pod, for 3 s":      {createPod, 3 * time.Second, true},
		"the volume, for 19 s":  {createVolume, 19 * time.Second, true},
		"the route, for 100 ms": {createRoute, 100 * time.Millisecond, true},
		"the pod, too long":     {createPod, time.Hour, false},
		"the volume, too long":  {createVolume, time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := inSituation(t, paused)
				began := time.Now()
				attempt, cancel := context.WithTimeout(t.Context(), sandbox.LongestAttempt)
				defer cancel()
				b.before[tt.kind] = func(int) error {
					if time.Since(began) < tt.after {
						return fmt.Errorf("pods x: %w", cluster.ErrEnding)
					}
					return nil
				}
				c, seq := b.command(sandbox.Resume)
				out, err := b.Run(attempt, c, seq)
				took := time.Since(began)
				if !tt.gone {
					ended := errors.Is(err, cluster.ErrEnding) || errors.Is(err, context.DeadlineExceeded)
					if !ended || out.View != nil || out.Err != nil || took != sandbox.LongestAttempt {
						t.Errorf("after %v: %v, %+v", took, err, out)
					}
					return
				}
				if err != nil || out.Err != nil || out.View == nil || took < tt.after || took > tt.after+time.Second {
					t.Errorf("after %v: %v, %+v", took, err, out)
				}
				b.is("running 2, 1 pods, 2 objects, starting")
			})
		})
	}
}
