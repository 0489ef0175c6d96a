package volumes_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sandbar-io/sandbar/tools/devcluster/internal/volumes"
)

func claim(change func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "ws", UID: "u-1"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOncePod},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")}},
		},
		Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending},
	}
	if change != nil {
		change(c)
	}
	return c
}

func onNode(c *corev1.PersistentVolumeClaim) {
	c.Annotations = map[string]string{"volume.kubernetes.io/selected-node": "node1"}
}

func class(provisioner string) *storagev1.StorageClass {
	remove := corev1.PersistentVolumeReclaimDelete
	return &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "c"}, Provisioner: provisioner, ReclaimPolicy: &remove}
}

func TestWanted(t *testing.T) {
	t.Parallel()
	now := metav1.NewTime(time.Unix(1, 0))
	for _, c := range []struct {
		name        string
		provisioner string
		change      func(*corev1.PersistentVolumeClaim)
		want        bool
	}{
		{"local, no pod yet", volumes.Local, nil, false},
		{"local, node chosen", volumes.Local, onNode, true},
		{"simulated needs no node", volumes.Simulated, nil, true},
		{"of another provisioner", "example.com/x", onNode, false},
		{"has a volume", volumes.Local, func(c *corev1.PersistentVolumeClaim) { onNode(c); c.Spec.VolumeName = "pv" }, false},
		{"bound", volumes.Simulated, func(c *corev1.PersistentVolumeClaim) { c.Status.Phase = corev1.ClaimBound }, false},
		{"being deleted", volumes.Local, func(c *corev1.PersistentVolumeClaim) { onNode(c); c.DeletionTimestamp = &now }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := volumes.Wanted(claim(c.change), class(c.provisioner)); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestBound(t *testing.T) {
	t.Parallel()
	before := claim(nil)
	volume := volumes.For(before, class(volumes.Simulated), "/data")
	c, v := volumes.Bound(before, volume)
	if c.Spec.VolumeName != v.Name || c.Status.Phase != corev1.ClaimBound || v.Status.Phase != corev1.VolumeBound {
		t.Errorf("%+v, %+v", c, v)
	}
	if c.Annotations["pv.kubernetes.io/bind-completed"] != "yes" || c.Status.Capacity.Storage().String() != "10Gi" {
		t.Errorf("%+v", c)
	}
	if before.Spec.VolumeName != "" || volume.Status.Phase != "" {
		t.Error("what it was given was changed")
	}
}

func TestLocalVolume(t *testing.T) {
	t.Parallel()
	v := volumes.For(claim(onNode), class(volumes.Local), "/data")
	if v.Spec.Local == nil || v.Spec.Local.Path != "/data/pvc-u-1" || v.Name != "pvc-u-1" {
		t.Errorf("volume %s at %+v; want type local, or fsGroup is not applied", v.Name, v.Spec.Local)
	}
	if len(v.Spec.AccessModes) != 1 || v.Spec.AccessModes[0] != corev1.ReadWriteOncePod {
		t.Errorf("access modes %v", v.Spec.AccessModes)
	}
	if ref := v.Spec.ClaimRef; ref == nil || ref.UID != "u-1" || ref.Namespace != "ns" || ref.Name != "ws" {
		t.Errorf("claim %+v", ref)
	}
	terms := v.Spec.NodeAffinity.Required.NodeSelectorTerms
	if got := terms[0].MatchExpressions[0]; got.Key != corev1.LabelHostname || got.Values[0] != "node1" {
		t.Errorf("affinity %+v", got)
	}
	if got := v.Spec.Capacity[corev1.ResourceStorage]; got.String() != "10Gi" {
		t.Errorf("capacity %s", got.String())
	}
}

func TestSimulatedVolumeIsAnywhere(t *testing.T) {
	t.Parallel()
	v := volumes.For(claim(nil), class(volumes.Simulated), "/data")
	if v.Spec.Local != nil || v.Spec.NodeAffinity != nil {
		t.Errorf("local %+v, affinity %+v", v.Spec.Local, v.Spec.NodeAffinity)
	}
}

func TestFinished(t *testing.T) {
	t.Parallel()
	now := metav1.NewTime(time.Unix(1, 0))
	for _, c := range []struct {
		name   string
		change func(*corev1.PersistentVolume)
		want   bool
	}{
		{"released", func(*corev1.PersistentVolume) {}, true},
		{"bound", func(v *corev1.PersistentVolume) { v.Status.Phase = corev1.VolumeBound }, false},
		{"made a moment ago", func(v *corev1.PersistentVolume) { v.Status.Phase = "" }, false},
		{"to be retained", func(v *corev1.PersistentVolume) {
			v.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
		}, false},
		{"of somebody else", func(v *corev1.PersistentVolume) { v.Annotations = nil }, false},
		{"being deleted", func(v *corev1.PersistentVolume) { v.DeletionTimestamp = &now }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := volumes.For(claim(onNode), class(volumes.Local), "/data")
			v.Status.Phase = corev1.VolumeReleased
			c.change(v)
			if got := volumes.Finished(v); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
