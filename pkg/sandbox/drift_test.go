package sandbox_test

import (
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

func TestDrift(t *testing.T) {
	t.Parallel()
	pod := func(change ...func(*sandbox.Pod)) sandbox.Pod { return *newPod(change...) }
	object := func(change ...func(*sandbox.Object)) sandbox.Object {
		o := sandbox.Object{
			Kind: "PersistentVolumeClaim", Name: runtimeA, UID: "object-uid", RecordUID: "record-uid", RuntimeID: runtimeA, Generation: 1000, Volume: true,
		}
		for _, f := range change {
			f(&o)
		}
		return o
	}
	ofRuntime := func(id string) func(*sandbox.Object) { return func(o *sandbox.Object) { o.RuntimeID = id } }
	generation := func(n int64) func(*sandbox.Pod) { return func(p *sandbox.Pod) { p.Generation = n } }
	podOf := func(n int64) func(*sandbox.Pod) { return func(p *sandbox.Pod) { p.Incarnation, p.UID = n, "old-uid" } }
	type pods = []sandbox.Pod
	type objects = []sandbox.Object
	for name, c := range map[string]struct {
		record  *sandbox.Record
		pods    pods
		objects objects
		omit    sandbox.Omit
		drifted bool
		about   string // the UID of what is not wanted
	}{
		"no record": {nil, pods{pod()}, nil, 0, false, ""},

		"running with its pod":                     {newRecord(), pods{pod(ready)}, objects{object()}, 0, false, ""},
		"running with its pod, made by generation": {newRecord(func(r *sandbox.Record) { r.Generation = 1005 }), pods{pod(ready)}, nil, 0, false, ""},
		"running without a pod":                    {newRecord(), nil, objects{object()}, 0, true, ""},
		"running, its pod is ending":               {newRecord(), pods{pod(terminating)}, nil, 0, true, "pod-uid"},
		"running, its pod is ending, an old too":   {newRecord(), pods{pod(terminating), pod(podOf(0), terminating)}, nil, 0, true, "pod-uid"},
		"running, its pod is ending, an old not":   {newRecord(), pods{pod(terminating), pod(podOf(0))}, nil, 0, true, "old-uid"},
		"its pod is ending, rule taken out":        {newRecord(), pods{pod(terminating)}, nil, sandbox.OmitReplaceEnding, false, ""},
		"its pod is ending, of a newer generation": {newRecord(), pods{pod(terminating, generation(1001))}, nil, 0, false, ""},
		"running, its pod failed":                  {newRecord(), pods{pod(phase("Failed", "Evicted", ""))}, nil, 0, false, ""},
		"running, an old pod too":                  {newRecord(), pods{pod(), pod(podOf(0))}, nil, 0, true, "old-uid"},
		"running, an old pod is ending":            {newRecord(), pods{pod(podOf(0), terminating), pod()}, nil, 0, false, ""},
		"running, only an old pod that is ending":  {newRecord(), pods{pod(podOf(0), terminating)}, nil, 0, true, ""},
		"running, another runtime's pod":           {newRecord(), pods{pod(), pod(func(p *sandbox.Pod) { p.RuntimeID = runtimeB })}, nil, 0, true, "pod-uid"},

		"paused, nothing":                 {newRecord(desired(sandbox.Paused)), nil, objects{object()}, 0, false, ""},
		"paused without its volume":       {newRecord(desired(sandbox.Paused)), nil, nil, 0, false, ""},
		"paused, a pod":                   {newRecord(desired(sandbox.Paused)), pods{pod()}, nil, 0, true, "pod-uid"},
		"paused, a pod that is ending":    {newRecord(desired(sandbox.Paused)), pods{pod(terminating)}, nil, 0, false, ""},
		"stopped, nothing":                {newRecord(desired(sandbox.Stopped)), nil, nil, 0, false, ""},
		"stopped, a pod":                  {newRecord(desired(sandbox.Stopped)), pods{pod()}, nil, 0, true, "pod-uid"},
		"stopped, a volume":               {newRecord(desired(sandbox.Stopped)), nil, objects{object()}, 0, true, "object-uid"},
		"stopped, a volume that is going": {newRecord(desired(sandbox.Stopped)), nil, objects{object(func(o *sandbox.Object) { o.Terminating = true })}, 0, false, ""},

		"a route of another runtime": {newRecord(), pods{pod()}, objects{object(ofRuntime(runtimeB), func(o *sandbox.Object) { o.Kind, o.Volume = "Ingress", false })}, 0, true, "object-uid"},
		"a newer generation's object": {newRecord(desired(sandbox.Stopped)), nil,
			objects{object(func(o *sandbox.Object) { o.Generation = 1001 })}, 0, false, ""},

		// The cached record is behind: nothing is judged by it.
		"a newer generation's pod":                  {newRecord(desired(sandbox.Paused)), pods{pod(generation(1001))}, nil, 0, false, ""},
		"a newer generation's pod beside an old":    {newRecord(), pods{pod(generation(1001), podOf(2)), pod(podOf(0))}, nil, 0, false, ""},
		"a newer generation's pod, rule taken out":  {newRecord(desired(sandbox.Paused)), pods{pod(generation(1001), func(p *sandbox.Pod) { p.Order = 1 })}, nil, sandbox.OmitJudgeGeneration, true, "pod-uid"},
		"a newer generation's pod of the old order": {newRecord(), pods{pod(generation(1001))}, nil, 0, false, ""},

		// What another record left is the garbage collector's.
		"another record's pod":    {newRecord(desired(sandbox.Stopped)), pods{pod(func(p *sandbox.Pod) { p.RecordUID = "before" })}, nil, 0, false, ""},
		"another record's volume": {newRecord(desired(sandbox.Stopped)), nil, objects{object(func(o *sandbox.Object) { o.RecordUID = "before" })}, 0, false, ""},
		"running, only another record's pod": {newRecord(), pods{pod(func(p *sandbox.Pod) { p.RecordUID = "before" })}, nil, 0,
			true, ""},
		"another record's newer pod hides nothing": {newRecord(), pods{pod(generation(2000), func(p *sandbox.Pod) { p.RecordUID = "before" }), pod(podOf(0)), pod()}, nil, 0, true, "old-uid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, drifted := sandbox.Drift(c.record, c.pods, c.objects, c.omit)
			if drifted != c.drifted {
				t.Fatalf("drifted: %v, %+v", drifted, got)
			}
			if !drifted {
				return
			}
			want := sandbox.Command{
				Verb: sandbox.Reconcile, Tenant: "default", SessionID: "s", RuntimeID: runtimeA,
				Generation: c.record.Generation, RecordUID: "record-uid", PodUID: c.about,
			}
			if got != want {
				t.Errorf("\n got %+v\nwant %+v", got, want)
			}
			if e := sandbox.Decide(c.record, got, sandbox.Facts{Now: born}); e.Drop || e.Refuse != nil || e.Next != nil {
				t.Errorf("the provisioner does not converge: %+v", e)
			}
		})
	}
}

func TestPurgeDue(t *testing.T) {
	t.Parallel()
	for _, r := range []*sandbox.Record{nil, newRecord(), newRecord(desired(sandbox.Paused))} {
		if _, _, due := sandbox.PurgeDue(r); due {
			t.Errorf("%+v is to be purged", r)
		}
	}
	r := newRecord(desired(sandbox.Stopped), func(r *sandbox.Record) { r.ChangedAt = at(time.Hour) })
	c, when, due := sandbox.PurgeDue(r)
	if !due || !when.Equal(at(time.Hour+sandbox.PurgeAfter)) {
		t.Errorf("%v at %v", due, when)
	}
	want := sandbox.Command{Verb: sandbox.Purge, Tenant: "default", SessionID: "s", RuntimeID: runtimeA, Generation: 1000, RecordUID: "record-uid"}
	if c != want {
		t.Errorf("%+v", c)
	}
	if e := sandbox.Decide(r, c, sandbox.Facts{Now: when}); !e.Purge {
		t.Errorf("the provisioner does not purge: %+v", e)
	}
	r.Generation++
	if e := sandbox.Decide(r, c, sandbox.Facts{Now: when}); !e.Drop {
		t.Errorf("it purges what was started again: %+v", e)
	}
}

// No attempt that could still write for an older command finds the record gone.
func TestPurgeIsLaterThanAnyAttempt(t *testing.T) {
	t.Parallel()
	if sandbox.PurgeAfter <= sandbox.MaxDeadline+sandbox.LongestAttempt {
		t.Errorf("purge after %v, deadline %v and attempt %v", sandbox.PurgeAfter, sandbox.MaxDeadline, sandbox.LongestAttempt)
	}
}
