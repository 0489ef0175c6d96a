//go:build apiserver

package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/services/provisioner/internal/cluster"
)

// stored is what of a record is stored.
func stored(r *sandbox.Record) *sandbox.Record {
	if r = r.Clone(); r != nil {
		r.AsOf = time.Time{}
	}
	return r
}

func TestRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "baseline")
	c := w.cluster()
	ctx := t.Context()
	if r, err := c.Record(ctx, sandbox.RecordName("acme", "none")); r != nil || err != nil {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, session := range []string{"plain", "Upper.Case/../%2F", "ünïcode 🦀", "x y\u00a0z", `{"a":1}`} {
		want := newRecord(session)
		made, err := c.CreateRecord(ctx, want)
		must(t, err)
		if made.UID == "" || made.ResourceVersion == "" || made.Order() == 0 {
			t.Errorf("%+v", made)
		}
		want.UID, want.ResourceVersion = made.UID, made.ResourceVersion
		if !reflect.DeepEqual(stored(made), want) {
			t.Errorf("%+v was made of %+v", made, want)
		}
		if got, err := c.Record(ctx, want.Name); err != nil || !reflect.DeepEqual(stored(got), want) {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
		if r, err := c.CreateRecord(ctx, newRecord(session)); !errors.Is(err, cluster.ErrMoved) || r != nil {
			t.Errorf("made twice: %+v, %v", r, err)
		}
	}
}

func TestSwap(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "baseline")
	c := w.cluster()
	for name, tt := range map[string]struct {
		between func(t *testing.T, r *sandbox.Record) *sandbox.Record // what prev is then
		moved   bool
	}{
		"as it is": {func(_ *testing.T, r *sandbox.Record) *sandbox.Record { return r }, false},
		"swapped since": {func(t *testing.T, r *sandbox.Record) *sandbox.Record {
			next := r.Clone()
			next.Fence++
			_, err := c.UpdateRecord(t.Context(), r, next)
			must(t, err)
			return r
		}, true},
		"labelled since": {func(t *testing.T, r *sandbox.Record) *sandbox.Record {
			w.label(t, r.Name)
			return r
		}, true},
		"deleted since": {func(t *testing.T, r *sandbox.Record) *sandbox.Record {
			must(t, c.DeleteRecord(t.Context(), r))
			return r
		}, true},
		"made anew since": {func(t *testing.T, r *sandbox.Record) *sandbox.Record {
			must(t, c.DeleteRecord(t.Context(), r))
			_, err := c.CreateRecord(t.Context(), newRecord(r.SessionID))
			must(t, err)
			return r
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := c.CreateRecord(t.Context(), newRecord(name))
			must(t, err)
			prev := tt.between(t, r.Clone())
			before, err := c.Record(t.Context(), r.Name)
			must(t, err)
			next := prev.Clone()
			next.Generation++
			next.Desired, next.Spec, next.Fence = sandbox.Stopped, sandbox.Spec{}, 99
			got, err := c.UpdateRecord(t.Context(), prev, next)
			after, readErr := c.Record(t.Context(), r.Name)
			must(t, readErr)
			if tt.moved {
				if !errors.Is(err, cluster.ErrMoved) || got != nil || !reflect.DeepEqual(stored(before), stored(after)) {
					t.Errorf("%v: %+v became %+v", err, before, after)
				}
				return
			}
			must(t, err)
			next.ResourceVersion = got.ResourceVersion
			if got.ResourceVersion == prev.ResourceVersion || !reflect.DeepEqual(stored(got), stored(next)) || !reflect.DeepEqual(stored(after), stored(next)) {
				t.Errorf("%+v, read %+v, want %+v", got, after, next)
			}
		})
	}
}

// Of many swaps of one record at once, one is made.
func TestSwapsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "baseline")
	c := w.cluster()
	r := w.record("s")
	const n = 10
	errs := make(chan error, n)
	for i := range n {
		go func() {
			next := r.Clone()
			next.LastCommand = fmt.Sprint(i)
			_, err := c.UpdateRecord(t.Context(), r, next)
			errs <- err
		}()
	}
	won := 0
	for range n {
		switch err := <-errs; {
		case err == nil:
			won++
		case !errors.Is(err, cluster.ErrMoved):
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d swaps of one version", won)
	}
}

func (w *world) label(t *testing.T, name string) {
	t.Helper()
	body := []byte(`{"metadata":{"labels":{"company/cost-center":"42"},"annotations":{"company/note":"hands off"},"finalizers":["company/keep"]}}`)
	_, err := w.client.CoreV1().Secrets(w.ns).Patch(t.Context(), name, types.MergePatchType, body, metav1.PatchOptions{})
	must(t, err)
	t.Cleanup(func() {
		_, _ = w.client.CoreV1().Secrets(w.ns).Patch(context.Background(), name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	})
}

// What others put on a record, and what a newer version wrote into it, stays.
func TestSwapKeepsWhatIsNotOurs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "baseline")
	c := w.cluster()
	r := newRecord("s")
	r.Unknown = map[string]json.RawMessage{"from_the_future": json.RawMessage(`{"deep":[1,2,{"x":null}]}`)}
	r, err := c.CreateRecord(t.Context(), r)
	must(t, err)
	w.label(t, r.Name)
	r, err = c.Record(t.Context(), r.Name)
	must(t, err)
	next := r.Clone()
	next.Desired, next.RuntimeID = sandbox.Paused, sandbox.NewRuntimeID()
	next, err = c.UpdateRecord(t.Context(), r, next)
	must(t, err)
	if got := string(next.Unknown["from_the_future"]); got != `{"deep":[1,2,{"x":null}]}` {
		t.Errorf("%s", got)
	}
	s, err := w.client.CoreV1().Secrets(w.ns).Get(t.Context(), r.Name, metav1.GetOptions{})
	must(t, err)
	if s.Labels["company/cost-center"] != "42" || s.Annotations["company/note"] != "hands off" || s.Annotations[kube.AnnotationSession] != "s" || !slices.Contains(s.Finalizers, "company/keep") {
		t.Errorf("%v %v %v", s.Labels, s.Annotations, s.Finalizers)
	}
	if s.Labels[kube.LabelRuntimeID] != next.RuntimeID || s.Labels[kube.LabelComponent] != kube.ComponentRecord || s.Type != kube.SecretType {
		t.Errorf("%v %s", s.Labels, s.Type)
	}
}

// A pod of the incarnation before may still read its own key: the last two stay.
func TestSessionKeysByNumber(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "baseline")
	c := w.cluster()
	r := w.record("s")
	keys := map[int]string{1: r.SessionKey}
	for number := 2; number <= 6; number++ {
		next := r.Clone()
		next.KeyNumber, next.SessionKey = number, sandbox.NewKey()
		keys[number] = next.SessionKey
		var err error
		r, err = c.UpdateRecord(t.Context(), r, next)
		must(t, err)
		// A swap without a rotation keeps both.
		next = r.Clone()
		next.Fence++
		r, err = c.UpdateRecord(t.Context(), r, next)
		must(t, err)
		s, err := w.client.CoreV1().Secrets(w.ns).Get(t.Context(), r.Name, metav1.GetOptions{})
		must(t, err)
		want := []string{"record", "secret_key", kube.DataSessionKey(number - 1), kube.DataSessionKey(number)}
		if got := slices.Sorted(maps.Keys(s.Data)); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		for _, n := range []int{number - 1, number} {
			if string(s.Data[kube.DataSessionKey(n)]) != keys[n] {
				t.Errorf("number %d is another key", n)
			}
		}
	}
}

func TestDeleteRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "baseline")
	c := w.cluster()
	for name, tt := range map[string]struct {
		change func(*sandbox.Record)
		gone   bool
	}{
		"as it is":        {func(*sandbox.Record) {}, true},
		"another version": {func(r *sandbox.Record) { r.ResourceVersion = "1" }, false},
		"another UID":     {func(r *sandbox.Record) { r.UID = "3f0c3d3e-0000-4000-8000-000000000000" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := c.CreateRecord(t.Context(), newRecord(name))
			must(t, err)
			tt.change(r)
			must(t, c.DeleteRecord(t.Context(), r))
			if live, err := c.Record(t.Context(), r.Name); err != nil || (live == nil) != tt.gone {
				t.Errorf("%+v, %v", live, err)
			}
			must(t, c.DeleteRecord(t.Context(), r)) // again, as at a redelivery
		})
	}
}

// What cannot be read is no record to be written over: an error, tried again.
func TestRecordThatCannotBeRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "baseline")
	for session, data := range map[string]string{"garbage": "{", "another's": `{"tenant":"other","session_id":"s"}`, "newer": `{"version":2}`} {
		name := sandbox.RecordName("acme", session)
		_, err := w.client.CoreV1().Secrets(w.ns).Create(t.Context(), &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Type: kube.SecretType, Data: map[string][]byte{"record": []byte(data)},
		}, metav1.CreateOptions{})
		must(t, err)
		if r, err := w.cluster().Record(t.Context(), name); r != nil || err == nil || cluster.Permanent(err) {
			t.Errorf("%s: %+v, %v", session, r, err)
		}
	}
}

// An attempt that ended leaves a plain error: what happened is not known.
func TestEndedAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "baseline")
	r := w.record("s")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := w.cluster()
	_, err := c.UpdateRecord(ctx, r, r)
	_, podErr := c.CreatePod(ctx, r, cluster.LookFirst)
	for _, err := range []error{err, podErr, c.CreateVolume(ctx, r, cluster.LookFirst), c.DeleteRecord(ctx, r)} {
		if !errors.Is(err, context.Canceled) || cluster.Permanent(err) || errors.Is(err, cluster.ErrMoved) {
			t.Errorf("%v", err)
		}
	}
}
