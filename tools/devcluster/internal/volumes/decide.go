// Package volumes provisions PersistentVolumes: of type local on real nodes,
// because only that type makes the kubelet apply fsGroup, and of no substance at
// all for simulated ones.
package volumes

import (
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The provisioners' names in storage classes.
const (
	Local     = "sandbar.io/local"
	Simulated = "sandbar.io/simulated"
)

// What the scheduler and the controllers of Kubernetes write and read.
const (
	selectedNode  = "volume.kubernetes.io/selected-node"
	provisionedBy = "pv.kubernetes.io/provisioned-by"
	bindCompleted = "pv.kubernetes.io/bind-completed"
	boundBy       = "pv.kubernetes.io/bound-by-controller"
)

// Wanted reports whether the claim waits for a volume of ours that can be made now.
func Wanted(claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass) bool {
	if claim.DeletionTimestamp != nil || claim.Spec.VolumeName != "" || claim.Status.Phase == corev1.ClaimBound {
		return false
	}
	switch class.Provisioner {
	case Local:
		// Without a node there is nowhere to put it; the scheduler picks one
		// when the first pod needs the claim.
		return claim.Annotations[selectedNode] != ""
	case Simulated:
		return true
	}
	return false
}

// Finished reports whether the volume is ours and its claim is gone for good.
func Finished(volume *corev1.PersistentVolume) bool {
	ours := volume.Annotations[provisionedBy]
	return (ours == Local || ours == Simulated) &&
		volume.DeletionTimestamp == nil &&
		volume.Status.Phase == corev1.VolumeReleased &&
		volume.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete
}

// Name of the volume of a claim. The claim's uid makes a second attempt find
// the first one's volume instead of making another.
func Name(claim *corev1.PersistentVolumeClaim) string { return "pvc-" + string(claim.UID) }

// Bound are copies of a claim and its volume as Kubernetes binds them.
func Bound(claim *corev1.PersistentVolumeClaim, volume *corev1.PersistentVolume) (*corev1.PersistentVolumeClaim, *corev1.PersistentVolume) {
	claim, volume = claim.DeepCopy(), volume.DeepCopy()
	metav1.SetMetaDataAnnotation(&claim.ObjectMeta, bindCompleted, "yes")
	metav1.SetMetaDataAnnotation(&claim.ObjectMeta, boundBy, "yes")
	claim.Spec.VolumeName = volume.Name
	claim.Status = corev1.PersistentVolumeClaimStatus{
		Phase: corev1.ClaimBound, AccessModes: volume.Spec.AccessModes, Capacity: volume.Spec.Capacity,
	}
	volume.Status.Phase = corev1.VolumeBound
	return claim, volume
}

// For is the volume of a claim. Its data lies in a folder of root.
func For(claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass, root string) *corev1.PersistentVolume {
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name:        Name(claim),
			Annotations: map[string]string{provisionedBy: class.Provisioner},
		},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]},
			AccessModes:                   claim.Spec.AccessModes,
			VolumeMode:                    claim.Spec.VolumeMode,
			StorageClassName:              class.Name,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
		},
	}
	if class.ReclaimPolicy != nil {
		volume.Spec.PersistentVolumeReclaimPolicy = *class.ReclaimPolicy
	}
	if class.Provisioner == Simulated {
		// No kubelet ever looks at it.
		volume.Spec.HostPath = &corev1.HostPathVolumeSource{Path: "/nonexistent/" + volume.Name}
		return volume
	}
	volume.Spec.Local = &corev1.LocalVolumeSource{Path: filepath.Join(root, volume.Name)}
	volume.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchExpressions: []corev1.NodeSelectorRequirement{{
				Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn,
				Values: []string{claim.Annotations[selectedNode]},
			}},
		}},
	}}
	return volume
}
