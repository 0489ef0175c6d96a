package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/bed"
	"github.com/sandbar-io/sandbar/tools/loadgen/internal/figure"
)

const rebuildPage = 500 // as the watcher lists

var rebuild = Benchmark{
	Name:  "rebuild",
	What:  fmt.Sprintf("from the start of an emptied NATS until a gateway that knew nothing shows all of %d sandboxes", Many),
	Limit: "listing and decoding their records and pods from the API server",
	Run: func(ctx context.Context, e *Env) ([]figure.Case, error) {
		b, err := e.Large(ctx)
		if err != nil {
			return nil, err
		}
		client, err := client(filepath.Join(b.Stack.Dir, "watcher.kubeconfig"))
		if err != nil {
			return nil, err
		}
		rounds, err := figure.Alternate(ctx, e.Rounds,
			func(ctx context.Context) (figure.Sample, error) { return rebuilt(ctx, b, e.Sandboxes) },
			func(ctx context.Context) (figure.Sample, error) {
				return listed(ctx, client, b.Stack.SandboxNamespace, e.Sandboxes)
			})
		return []figure.Case{{Name: fmt.Sprintf("%d views", e.Sandboxes), Bounds: []figure.Bound{{Value: figure.Time, AtMost: 2}}, Rounds: rounds}}, err
	},
}

// client has no limit of its own, as the services have none.
func client(kubeconfig string) (*kubernetes.Clientset, error) {
	cfg, err := kube.ClientConfig(kubeconfig)
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(cfg)
}

func rebuilt(ctx context.Context, b *bed.Bed, n int) (figure.Sample, error) {
	const fresh = "gateway-1"
	if err := b.Stack.Kill(fresh); err != nil {
		return figure.Sample{}, err
	}
	if err := b.End("nats"); err != nil {
		return figure.Sample{}, err
	}
	if err := b.Stack.WipeNATS(); err != nil {
		return figure.Sample{}, err
	}
	begin := time.Now()
	if err := b.Stack.StartNATS(ctx); err != nil {
		return figure.Sample{}, err
	}
	if err := b.Stack.StartService(fresh); err != nil {
		return figure.Sample{}, err
	}
	// Ready only once it has seen a bucket that is complete.
	if err := b.Stack.WaitService(ctx, fresh); err != nil {
		return figure.Sample{}, err
	}
	took := time.Since(begin)
	return figure.Took(took), b.Settled(ctx, n)
}

// listed lists and decodes what the watcher makes views of.
func listed(ctx context.Context, client kubernetes.Interface, ns string, n int) (figure.Sample, error) {
	begin := time.Now()
	records, pods := 0, 0
	opts := metav1.ListOptions{LabelSelector: kube.RecordSelector, Limit: rebuildPage}
	for {
		page, err := client.CoreV1().Secrets(ns).List(ctx, opts)
		if err != nil {
			return figure.Sample{}, err
		}
		for i := range page.Items {
			if _, err := kube.DecodeRecord(&page.Items[i]); err != nil {
				return figure.Sample{}, err
			}
			records++
		}
		if opts.Continue = page.Continue; opts.Continue == "" {
			break
		}
	}
	opts = metav1.ListOptions{LabelSelector: kube.SandboxSelector, Limit: rebuildPage}
	for {
		page, err := client.CoreV1().Pods(ns).List(ctx, opts)
		if err != nil {
			return figure.Sample{}, err
		}
		for i := range page.Items {
			_ = kube.PodOf(&page.Items[i])
			pods++
		}
		if opts.Continue = page.Continue; opts.Continue == "" {
			break
		}
	}
	if records != n || pods != n {
		return figure.Sample{}, fmt.Errorf("%d records and %d pods were listed", records, pods)
	}
	return figure.Took(time.Since(begin)), nil
}
