package cluster

import (
	"context"
	_ "embed"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sandbar-io/sandbar/tools/devcluster/internal/binaries"
	"github.com/sandbar-io/sandbar/tools/devcluster/internal/volumes"
	"github.com/sandbar-io/sandbar/tools/internal/process"
)

const (
	// nodeLabel says which kind a node is: real or simulated.
	nodeLabel = "sandbar.io/node"
	// simulatedTaint keeps pods that did not ask for it off simulated nodes.
	simulatedTaint = "sandbar.io/simulated"
	kwokAnnotation = "kwok.x-k8s.io/node"
	kwokName       = "kwok"
)

//go:embed stages.yaml
var stages []byte

func simulatedName(i int) string { return fmt.Sprintf("simulated%d", i+1) }

// simulate starts kwok and makes the nodes that it plays.
func (b *builder) simulate(ctx context.Context, client kubernetes.Interface) error {
	if b.SimulatedNodes == 0 {
		return nil
	}
	path := b.path("kwok.yaml")
	if err := os.WriteFile(path, stages, 0o644); err != nil {
		return fmt.Errorf("kwok: %w", err)
	}
	p, err := b.table().Start(process.Command{
		Name: kwokName, Path: b.cache.Path(binaries.Kwok),
		Argv: []string{
			"--kubeconfig=" + b.kubeconfig(), "--config=" + path,
			"--manage-nodes-with-annotation-selector=" + kwokAnnotation + "=fake",
			"--cidr=" + b.simulatedCIDR(), "--node-ip=" + b.host().String(),
			"--node-lease-duration-seconds=40",
		},
	})
	if err != nil {
		return err
	}
	for i := range b.SimulatedNodes {
		_, err := client.CoreV1().Nodes().Create(ctx, simulatedNode(simulatedName(i)), metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("simulated node: %w", err)
		}
	}
	for i := range b.SimulatedNodes {
		if err := ready(ctx, client, simulatedName(i), p); err != nil {
			return err
		}
	}
	b.step("%d simulated nodes are ready", b.SimulatedNodes)
	return nil
}

func simulatedNode(name string) *corev1.Node {
	// Room for more pods than anybody simulates: their number is not the test.
	size := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("256"),
		corev1.ResourceMemory: resource.MustParse("1Ti"),
		corev1.ResourcePods:   resource.MustParse("1000"),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name:        name,
			Annotations: map[string]string{kwokAnnotation: "fake", "node.alpha.kubernetes.io/ttl": "0"},
			Labels: map[string]string{
				nodeLabel:                 string(Simulated),
				corev1.LabelHostname:      name,
				corev1.LabelOSStable:      "linux",
				corev1.LabelArchStable:    "amd64",
				"kubernetes.io/role":      "agent",
				"node.kubernetes.io/kwok": "true",
			},
		},
		Spec: corev1.NodeSpec{
			Taints: []corev1.Taint{{Key: simulatedTaint, Effect: corev1.TaintEffectNoSchedule}},
		},
		Status: corev1.NodeStatus{Allocatable: size, Capacity: size, Phase: corev1.NodeRunning},
	}
}

// The storage classes, one for each kind of node.
const (
	ClassLocal     = "sandbar-local"
	ClassSimulated = "sandbar-simulated"
)

// createClasses makes the storage classes. The default one is that of real
// nodes, unless there are none.
func createClasses(ctx context.Context, client kubernetes.Interface, nodes Nodes) error {
	remove := corev1.PersistentVolumeReclaimDelete
	late, now := storagev1.VolumeBindingWaitForFirstConsumer, storagev1.VolumeBindingImmediate
	standard := func(yes bool) map[string]string {
		if !yes {
			return nil
		}
		return map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}
	}
	for _, class := range []*storagev1.StorageClass{
		{
			ObjectMeta:  metav1.ObjectMeta{Name: ClassLocal, Annotations: standard(nodes != Simulated)},
			Provisioner: volumes.Local, ReclaimPolicy: &remove, VolumeBindingMode: &late,
		},
		{
			ObjectMeta:  metav1.ObjectMeta{Name: ClassSimulated, Annotations: standard(nodes == Simulated)},
			Provisioner: volumes.Simulated, ReclaimPolicy: &remove, VolumeBindingMode: &now,
		},
	} {
		_, err := client.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("storage class %s: %w", class.Name, err)
		}
	}
	return nil
}
