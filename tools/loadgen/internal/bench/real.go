package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
	"github.com/sandbar-io/sandbar/tools/devcluster/cluster"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/bed"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/figure"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/load"
)

var realAtOnce = []int{1, 8, 32}

var startReal = Benchmark{
	Name:  "start-real",
	What:  fmt.Sprintf("POST /start on a real API server, %v at once", realAtOnce),
	Limit: "the same Secret, volume claim and pod made with client-go, with the same parallelism and no rate limit",
	Real:  true,
	Run: func(ctx context.Context, e *Env) ([]figure.Case, error) {
		state, err := cluster.Load(e.Cluster)
		if err != nil {
			return nil, err
		}
		b, err := e.StartOn(ctx, "start-real", state, stack.Options{SystemNamespace: "bench-system", SandboxNamespace: "bench-sandboxes"})
		if err != nil {
			return nil, err
		}
		defer func() { _ = b.Close() }()
		d, err := newDirect(ctx, b)
		if err != nil {
			return nil, err
		}
		var n atomic.Int64
		var cases []figure.Case
		for _, atOnce := range realAtOnce {
			rounds, err := figure.Alternate(ctx, e.Rounds,
				loop(atOnce, e, func(ctx context.Context) error {
					_, err := b.Start(ctx, 0, fmt.Sprintf("real-%d", n.Add(1)))
					return err
				}),
				loop(atOnce, e, d.create))
			if err != nil {
				return cases, err
			}
			cases = append(cases, figure.Case{
				Name: fmt.Sprintf("%d at once", atOnce), Rounds: rounds,
				Bounds: []figure.Bound{{Value: figure.P50, AtMost: 1.15}, {Value: figure.Rate, AtLeast: 0.9}},
			})
		}
		return cases, nil
	},
}

// loop measures rate and latency of so many workers: how long one of them waits is
// what a client waits that has so many others beside it.
func loop(workers int, e *Env, ask func(context.Context) error) figure.Measure {
	return func(ctx context.Context) (figure.Sample, error) {
		r := load.Closed(ctx, workers, e.Duration, func(ctx context.Context, _, _ int) error { return ask(ctx) })
		a, err := figure.Throughput(r)
		if err != nil {
			return a, err
		}
		l, err := figure.Latency(r)
		return figure.Both(a, l), err
	}
}

// direct makes the objects of a sandbox without Sandbar, under other names.
type direct struct {
	client *kubernetes.Clientset
	ns     string
	secret *corev1.Secret
	claim  *corev1.PersistentVolumeClaim
	pod    *corev1.Pod
	n      atomic.Int64
}

// newDirect takes its objects from a sandbox that Sandbar has made.
func newDirect(ctx context.Context, b *bed.Bed) (*direct, error) {
	const session = "example"
	rt, err := b.Start(ctx, 0, session)
	if err != nil {
		return nil, err
	}
	d := &direct{ns: b.Stack.SandboxNamespace}
	// The provisioner's own rights and connection.
	if d.client, err = client(filepath.Join(b.Stack.Dir, "provisioner.kubeconfig")); err != nil {
		return nil, err
	}
	var errs [3]error
	d.secret, errs[0] = d.client.CoreV1().Secrets(d.ns).Get(ctx, sandbox.RecordName("default", session), metav1.GetOptions{})
	d.claim, errs[1] = d.client.CoreV1().PersistentVolumeClaims(d.ns).Get(ctx, rt.RuntimeID, metav1.GetOptions{})
	d.pod, errs[2] = d.client.CoreV1().Pods(d.ns).Get(ctx, sandbox.PodName(rt.RuntimeID, 1), metav1.GetOptions{})
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("the objects of a sandbox: %w", err)
	}
	for _, m := range []*metav1.ObjectMeta{&d.secret.ObjectMeta, &d.claim.ObjectMeta, &d.pod.ObjectMeta} {
		labels := map[string]string{}
		for k, v := range m.Labels {
			labels[strings.Replace(k, "sandbar.io/", "bench.io/", 1)] = v // nobody takes them for a sandbox
		}
		*m = metav1.ObjectMeta{Labels: labels, Annotations: m.Annotations, OwnerReferences: m.OwnerReferences}
	}
	d.pod.Status, d.claim.Status = corev1.PodStatus{}, corev1.PersistentVolumeClaimStatus{}
	d.claim.Spec.VolumeName = ""
	// Admission has added these, and is to add them again.
	d.pod.Spec.Tolerations, d.pod.Spec.Priority, d.pod.Spec.PreemptionPolicy, d.pod.Spec.NodeName = nil, nil, nil, ""
	return d, nil
}

// create makes the Secret first, which owns the others, and these at the same time.
func (d *direct) create(ctx context.Context) error {
	name := fmt.Sprintf("direct-%d", d.n.Add(1))
	secret := d.secret.DeepCopy()
	secret.Name = name
	made, err := d.client.CoreV1().Secrets(d.ns).Create(ctx, secret, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	own := func(m *metav1.ObjectMeta, uid types.UID) {
		m.Name = name
		m.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Secret", Name: name, UID: uid}}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		claim := d.claim.DeepCopy()
		own(&claim.ObjectMeta, made.UID)
		_, err := d.client.CoreV1().PersistentVolumeClaims(d.ns).Create(ctx, claim, metav1.CreateOptions{})
		return err
	})
	g.Go(func() error {
		pod := d.pod.DeepCopy()
		own(&pod.ObjectMeta, made.UID)
		_, err := d.client.CoreV1().Pods(d.ns).Create(ctx, pod, metav1.CreateOptions{})
		return err
	})
	return g.Wait()
}
