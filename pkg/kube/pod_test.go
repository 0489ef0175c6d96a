package kube_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

var update = flag.Bool("update", false, "write the golden files anew")

// soon is just after the pods of testdata were made.
var soon = time.Date(2026, 3, 4, 5, 7, 4, 0, time.UTC)

func readPod(t testing.TB, name string) *corev1.Pod {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "pods", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var p corev1.Pod
	if err := yaml.UnmarshalStrict(text, &p); err != nil {
		t.Fatal(err)
	}
	return &p
}

// recordOf is the record that wants the pods of testdata.
func recordOf() *sandbox.Record {
	return &sandbox.Record{
		Name: sandbox.RecordName("acme", "s"), UID: "5f0ddc52-7f1a-4b1e-8f0e-3a5a3b9f4c11", ResourceVersion: "990",
		Tenant: "acme", SessionID: "s", RuntimeID: "qmzvtkdhwbxeyrpc", Desired: sandbox.Running, Generation: 1_772_600_767_089, Incarnation: 2,
		Fence: 7, LastCommand: "c", Spec: sandbox.Spec{Image: "registry.internal:5000/agent:1.2", ResourceFactor: 1, Environment: map[string]string{"A": "b"}, Command: []string{"x"}},
		SessionKey: "session", KeyNumber: 1, SecretKey: "secret", CreatedAt: soon, ChangedAt: soon,
	}
}

const (
	crashed   = "CrashLoopBackOff: Error: exit code 3: panic: no configuration\n"
	scheduler = "Unschedulable: 0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 2 Insufficient cpu. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."
)

// From what a kubelet and a scheduler write to what a client reads, word for
// word.
func TestPodsAsReadersSeeThem(t *testing.T) {
	t.Parallel()
	type want struct {
		status sandbox.Status
		pod    sandbox.PodStatus
		detail string
	}
	table := map[string]want{
		"new":                 {"starting", "pending", ""},
		"unschedulable":       {"starting", "pending", scheduler},
		"gated":               {"starting", "pending", "SchedulingGated: Scheduling is blocked due to non-empty scheduling gates"},
		"bound":               {"starting", "pending", ""},
		"creating":            {"starting", "pending", ""},
		"err-image-pull":      {"starting", "pending", `ErrImagePull: failed to pull and unpack image "registry.internal:5000/agent:1.2": failed to resolve reference: registry.internal:5000/agent:1.2: not found`},
		"image-pull-back-off": {"starting", "pending", `ImagePullBackOff: Back-off pulling image "registry.internal:5000/agent:1.2": ErrImagePull: rpc error: not found`},
		"invalid-image-name":  {"error", "failed", `InvalidImageName: Failed to apply default image tag "A:B:C": couldn't parse image name "A:B:C": invalid reference format`},
		"config-error":        {"starting", "pending", "CreateContainerConfigError: couldn't find key session_key.1 in Secret sandbar-sandboxes/" + sandbox.RecordName("acme", "s")},
		"running":             {"starting", "running", ""},
		"started":             {"starting", "running", ""},
		"ready":               {"running", "ready", ""},
		"unready":             {"starting", "running", ""},
		"crashed-once":        {"starting", "running", "Error: exit code 3: panic: no configuration\n"},
		"crash-loop":          {"error", "crashloopbackoff", crashed},
		"crash-loop-runs":     {"error", "crashloopbackoff", "CrashLoopBackOff: Error: exit code 3"},
		"run-container-error": {"error", "crashloopbackoff", "CrashLoopBackOff: StartError: exit code 128: failed to create containerd task: exec: \"nope\": executable file not found in $PATH: unknown\n"},
		"oom-killed":          {"error", "crashloopbackoff", "CrashLoopBackOff: OOMKilled: exit code 137"},
		"evicted":             {"error", "failed", "Evicted: The node was low on resource: memory. Threshold quantity: 100Mi, available: 71Mi. Container sandbox was using 3Gi, request is 2Gi, has larger consumption of memory. "},
		"node-lost":           {"running", "ready", ""},
		"terminating":         {"starting", "not found", "the pod is being deleted"},
		"drained":             {"starting", "not found", "EvictionByEvictionAPI: Eviction API: evicting"},
		"sidecar":             {"running", "ready", ""},
	}
	files, err := filepath.Glob("testdata/pods/*.yaml")
	if err != nil || len(files) != len(table) {
		t.Fatalf("%d files, %d rows, %v", len(files), len(table), err)
	}
	for name, want := range table {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := kube.PodOf(readPod(t, name))
			v, _ := sandbox.Observe(recordOf(), &p, nil, 0, sandbox.DefaultPolicy, soon)
			if v.Status != want.status || v.PodStatus != want.pod || v.StatusDetail != want.detail {
				t.Errorf("\n got %s, %s, %q\nwant %s, %s, %q", v.Status, v.PodStatus, v.StatusDetail, want.status, want.pod, want.detail)
			}
			if v.Order != p.Order || p.Order == 0 {
				t.Errorf("order %d of resourceVersion", v.Order)
			}
			goldenPod(t, name, p)
		})
	}
}

func goldenPod(t *testing.T, name string, p sandbox.Pod) {
	t.Helper()
	for _, at := range []*time.Time{&p.CreatedAt, &p.ScheduledAt, &p.Container.StartedAt} {
		*at = at.UTC()
	}
	for _, end := range []*sandbox.Termination{p.Container.Terminated, p.Container.LastTerminated} {
		if end != nil {
			end.FinishedAt = end.FinishedAt.UTC()
		}
	}
	got, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	path := filepath.Join("testdata", "pods", name+".json")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test -update writes it anew)\n got %s\nwant %s", path, got, want)
	}
}

func TestPodOfForeignLabels(t *testing.T) {
	t.Parallel()
	p := kube.PodOf(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		ResourceVersion: "none",
		Labels:          map[string]string{kube.LabelGeneration: "12x", kube.LabelIncarnation: "99999999999999999999"},
	}})
	if p.Generation != 0 || p.Incarnation != 0 || p.Order != 0 || p.Scheduled || p.Container.Known {
		t.Errorf("%+v", p)
	}
}

func TestOrder(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]uint64{"": 0, "0": 0, "1": 1, "18446744073709551615": 1<<64 - 1, "-1": 0, "1x": 0, " " + "1": 0} {
		if got := kube.Order(version); got != want {
			t.Errorf("%q: %d", version, got)
		}
	}
}

// Labels of any record can be written, and are read back.
func TestObjectLabels(t *testing.T) {
	t.Parallel()
	r := recordOf()
	for _, change := range []func(*sandbox.Record){
		func(*sandbox.Record) {},
		func(r *sandbox.Record) { r.Tenant = strings.Repeat("a", 32) },
		func(r *sandbox.Record) {
			r.SessionID = "日本/../x"
			r.Name = sandbox.RecordName(r.Tenant, r.SessionID)
		},
		func(r *sandbox.Record) { r.Generation, r.Incarnation = 1<<63-1, 1<<63-1 },
	} {
		change(r)
		for _, labels := range []map[string]string{kube.ObjectLabels(r), kube.RecordLabels(r)} {
			for k, v := range labels {
				for _, problem := range append(validation.IsQualifiedName(k), validation.IsValidLabelValue(v)...) {
					t.Errorf("%s=%s: %s", k, v, problem)
				}
			}
		}
		meta := metav1.ObjectMeta{Name: "n", UID: "u", Labels: kube.ObjectLabels(r), DeletionTimestamp: &metav1.Time{Time: soon}}
		p := kube.PodOf(&corev1.Pod{ObjectMeta: meta})
		if p.RecordUID != r.UID || p.Record != r.Name || p.RuntimeID != r.RuntimeID || p.Generation != r.Generation || p.Incarnation != r.Incarnation || !p.Terminating {
			t.Errorf("%+v", p)
		}
		want := sandbox.Object{
			Kind: kube.KindVolume, Name: "n", UID: "u", RecordUID: r.UID, RuntimeID: r.RuntimeID, Generation: r.Generation, Terminating: true, Volume: true,
		}
		if o := kube.ObjectOf(&meta, kube.KindVolume); o != want {
			t.Errorf("%+v", o)
		}
		if o := kube.ObjectOf(&meta, "Ingress"); o.Volume || o.Kind != "Ingress" {
			t.Errorf("%+v", o)
		}
	}
	if kube.RecordLabels(r)[kube.LabelComponent] == kube.ObjectLabels(r)[kube.LabelComponent] {
		t.Error("a selector cannot tell records from what they own")
	}
	if got := kube.SelectorOf("x"); got != "sandbar.io/component=sandbox,sandbar.io/record=x" {
		t.Error(got)
	}
	if got := kube.SelectorOf("x", "y"); got != "sandbar.io/component=sandbox,sandbar.io/record in (x,y)" {
		t.Error(got)
	}
	if got := kube.RecordOf(&metav1.ObjectMeta{Labels: kube.ObjectLabels(r)}); got != r.Name {
		t.Errorf("the object's record is %q", got)
	}
}

func TestOwner(t *testing.T) {
	t.Parallel()
	o := kube.Owner(recordOf())
	if len(o) != 1 || o[0].Kind != "Secret" || o[0].APIVersion != "v1" || o[0].Name != recordOf().Name || string(o[0].UID) != recordOf().UID ||
		!*o[0].Controller || *o[0].BlockOwnerDeletion {
		t.Errorf("%+v", o)
	}
}
