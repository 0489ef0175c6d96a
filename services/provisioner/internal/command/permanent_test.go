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
			b.is("stopped 1, 0 pods, 0 objects, stopped")
		})
	}
}

// A volume or a route of the name is ending: converge waits until it is gone, as
// long as the attempt lasts.
func TestEnding(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		kind  string
		after time.Duration // until it is gone
		gone  bool
	}{
		"the volume, for 19 s":  {createVolume, 19 * time.Second, true},
		"the route, for 100 ms": {createRoute, 100 * time.Millisecond, true},
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
						return fmt.Errorf("volumes x: %w", cluster.ErrEnding)
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

// A pod of the name is ending, and was not when the record was read: the command
// is answered at once, and the watcher's reconcile brings the next incarnation,
// whether the pod ever ends or not.
func TestPodEndsMeanwhile(t *testing.T) {
	t.Parallel()
	b := inSituation(t, running)
	b.linger = true
	b.after[getPod] = func(int) error {
		b.fake.mu.Lock()
		defer b.fake.mu.Unlock()
		for _, p := range b.pods {
			p.Terminating, p.Order = true, b.next()
		}
		return nil
	}
	out := b.do(sandbox.Start)
	if out.View.Status != sandbox.StatusStarting || out.View.PodStatus != sandbox.PodNotFound {
		t.Errorf("%+v", out.View)
	}
	b.is("running 1, 1 pods, 2 objects, starting")
	b.forget()
	if out, err := b.Run(t.Context(), b.bound(sandbox.Reconcile), 1); err != nil || out.Err != nil {
		t.Fatalf("%v, %+v", err, out)
	}
	b.is("running 2, 2 pods, 2 objects, starting")
	if v := b.views[viewKey]; v.Incarnation != 2 || v.PodStatus != sandbox.PodPending {
		t.Errorf("%+v", v)
	}
}

// A quota that has room for one counts what is to be replaced: that goes first.
func TestQuotaHasRoomForOne(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		from  situation
		verb  sandbox.Verb
		takes time.Duration // until a deleted pod is gone
		done  bool
		left  int // pods
	}{
		"start of a failed one":                {failed, sandbox.Start, 0, true, 1},
		"resume of a failed one":               {failed, sandbox.Resume, 3 * time.Second, true, 1},
		"resume while the paused pod ends":     {paused, sandbox.Resume, 3 * time.Second, true, 1},
		"resume while it does not end":         {paused, sandbox.Resume, time.Hour, false, 1},
		"start of one whose pod does not end":  {ending, sandbox.Start, time.Hour, false, 1},
		"start of a failed one that stays on":  {failed, sandbox.Start, time.Hour, false, 1},
		"start of one whose pod ends in a bit": {ending, sandbox.Start, 4 * time.Second, true, 1},
		"reconcile, for which nobody waits":    {ending, sandbox.Reconcile, 4 * time.Second, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.do(sandbox.Start)
				b.linger = true
				switch tt.from {
				case paused:
					b.do(sandbox.Pause)
				case failed:
					for _, p := range b.pods {
						p.Phase, p.Reason = "Failed", "Evicted"
					}
				case ending:
					for _, p := range b.pods {
						p.Terminating = true
					}
				case none, running, stopped:
				}
				b.forget()
				began := time.Now()
				b.before[createPod] = func(int) error {
					b.fake.mu.Lock()
					defer b.fake.mu.Unlock()
					if len(b.pods) > 0 && time.Since(began) >= tt.takes {
						for name, p := range b.pods {
							if p.Terminating {
								delete(b.pods, name)
							}
						}
					}
					if len(b.pods) > 0 {
						return noRoom
					}
					return nil
				}
				c, seq := b.command(tt.verb)
				limit := 6 * time.Second
				if tt.verb == sandbox.Reconcile {
					c, limit = b.bound(tt.verb), time.Second
				}
				out, err := b.Run(t.Context(), c, seq)
				if took := time.Since(began); err != nil || (out.Err == nil) != tt.done || took > limit {
					t.Errorf("after %v: %v, %+v", took, err, out)
				}
				if sandbox.CodeOf(out.Err) != sandbox.CodeQuota && !tt.done || len(b.pods) != tt.left {
					t.Errorf("%v; %s", out.Err, b.world())
				}
			})
		})
	}
}

// A start that replaces a pod is refused, and nobody knows: its redelivery must
// not pause what ran before it. Nor must one that moved the record meanwhile.
func TestReplacedWithoutRoomRunsOn(t *testing.T) {
	t.Parallel()
	for name, disturb := range map[string]func(b *bench){
		"the refusal cannot be shown": func(b *bench) {
			b.before[putView] = func(n int) error {
				if n == 2 { // the first shows that the pod is ending
					return errDown
				}
				return nil
			}
		},
		"another start joins": func(b *bench) {
			b.before[createPod] = func(n int) error {
				if n == 1 {
					b.change(func(r *sandbox.Record) { r.Fence, r.LastCommand = 500, "another" })
				}
				return noRoom
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := inSituation(t, ending)
				b.linger = true
				b.before[createPod] = always(noRoom)
				disturb(b)
				c, seq := b.command(sandbox.Start)
				for range 3 {
					out, err := b.Run(t.Context(), c, seq)
					if err == nil {
						err = b.Follow(t.Context(), out)
					}
					if err != nil && !errors.Is(err, errDown) {
						t.Fatal(err)
					}
				}
				b.is("running 2, 1 pods, 2 objects, starting")
			})
		})
	}
}

// What takes a pod away is shown before another takes its place: afterwards
// nobody looks at it.
func TestEndingIsShownFirst(t *testing.T) {
	t.Parallel()
	b := inSituation(t, ending)
	for _, p := range b.pods {
		p.DisruptionReason, p.DisruptionMessage = "EvictionByEvictionAPI", "Eviction API: evicting"
	}
	var told string
	b.before[updateRecord] = func(int) error {
		told = b.views[viewKey].StatusDetail
		return nil
	}
	b.do(sandbox.Start)
	if want := "EvictionByEvictionAPI: Eviction API: evicting"; told != want {
		t.Errorf("before it was replaced its detail was %q, want %q", told, want)
	}
}

// Who is to run and gets no pod is shown with the words of the refusal, as long
// as there is none; then it runs.
func TestRefusalIsTold(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func(b *bench) error{
		"reconcile of one that lost its pod": func(b *bench) error {
			clear(b.pods)
			out, err := b.Run(t.Context(), b.bound(sandbox.Reconcile), 1)
			if !out.Silent {
				t.Errorf("%+v", out)
			}
			return errors.Join(err, out.Err)
		},
		"start of one that lost its pod": func(b *bench) error {
			clear(b.pods)
			c, seq := b.command(sandbox.Start)
			out, err := b.Run(t.Context(), c, seq)
			return errors.Join(err, out.Err)
		},
		"start of one that failed": func(b *bench) error {
			for _, p := range b.pods {
				p.Phase, p.Reason = "Failed", "Evicted"
			}
			c, seq := b.command(sandbox.Start)
			out, err := b.Run(t.Context(), c, seq)
			return errors.Join(err, out.Err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := inSituation(t, running)
			b.pass(time.Hour)
			b.before[createPod] = always(fmt.Errorf("create: %w", noRoom))
			if err := refuse(b); sandbox.CodeOf(err) != sandbox.CodeQuota {
				t.Fatalf("%v", err)
			}
			v := b.views[viewKey]
			if v.Status != sandbox.StatusStarting || v.PodStatus != sandbox.PodNotFound || v.StatusDetail != noRoom.Message {
				t.Errorf("%+v", v)
			}
			// What the watcher sees changes nothing.
			if again, _ := sandbox.Observe(b.record(), nil, v, v.Order+1, b.Policy, b.now()); again.StatusDetail != noRoom.Message {
				t.Errorf("%+v", again)
			}
			b.forget()
			if out, err := b.Run(t.Context(), b.bound(sandbox.Reconcile), 1); err != nil || out.Err != nil {
				t.Fatalf("%v, %+v", err, out)
			}
			if v := b.views[viewKey]; v.PodStatus != sandbox.PodPending || v.StatusDetail != "" {
				t.Errorf("%+v", v)
			}
		})
	}
}

// A later command has the record by the time the refusal is to be told.
func TestRefusalIsNotToldOfAnother(t *testing.T) {
	t.Parallel()
	b := inSituation(t, running)
	clear(b.pods)
	c := b.bound(sandbox.Reconcile)
	b.before[createPod] = always(noRoom)
	b.before[listPods] = func(n int) error {
		if n == 1 {
			b.do(sandbox.Pause)
		}
		return nil
	}
	if out, err := b.Run(t.Context(), c, 1); err != nil || sandbox.CodeOf(out.Err) != sandbox.CodeQuota {
		t.Fatalf("%v, %+v", err, out)
	}
	if v := b.views[viewKey]; v.Status != sandbox.StatusPaused || v.StatusDetail != "" {
		t.Errorf("%+v", v)
	}
}
