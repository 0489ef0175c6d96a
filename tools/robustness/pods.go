package robustness

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/sandbar-io/sandbar/pkg/kube"
	"github.com/sandbar-io/sandbar/tools/robustness/internal/history"
)

// watchPods records every step of every pod until ctx ends: a list, and all that
// came after it, in the API server's order. It lists again only where the server
// has forgotten what came in between.
func (w *world) watchPods(ctx context.Context) {
	version := ""
	for ctx.Err() == nil {
		if version == "" {
			version = w.listPods(ctx)
		}
		if version != "" {
			version = w.followPods(ctx, version)
		}
		wait(ctx, 100*time.Millisecond)
	}
}

func (w *world) listPods(ctx context.Context) (version string) {
	list, err := w.kube.CoreV1().Pods(w.SandboxNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return ""
	}
	w.recorder.Add(history.Entry{Pod: &history.Pod{At: w.recorder.Now(), Again: true}})
	for i := range list.Items {
		w.pod(&list.Items[i], false)
	}
	return list.ResourceVersion
}

// followPods returns the version up to which all was seen, "" where that is lost.
func (w *world) followPods(ctx context.Context, version string) string {
	watching, err := w.kube.CoreV1().Pods(w.SandboxNamespace).Watch(ctx, metav1.ListOptions{
		ResourceVersion: version, AllowWatchBookmarks: true,
	})
	if err != nil {
		return kept(err, version)
	}
	defer watching.Stop()
	for e := range watching.ResultChan() {
		if e.Type == watch.Error {
			return kept(apierrors.FromObject(e.Object), version)
		}
		p, ok := e.Object.(*corev1.Pod)
		if !ok {
			continue
		}
		version = p.ResourceVersion
		if e.Type != watch.Bookmark {
			w.pod(p, e.Type == watch.Deleted)
		}
	}
	return version
}

func kept(err error, version string) string {
	if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return ""
	}
	return version
}

func (w *world) pod(p *corev1.Pod, gone bool) {
	w.recorder.Add(history.Entry{Pod: &history.Pod{
		At: w.recorder.Now(), Record: p.Labels[kube.LabelRecord], Name: p.Name, UID: string(p.UID), Gone: gone,
		Ending: p.DeletionTimestamp != nil, Node: p.Spec.NodeName, Phase: string(p.Status.Phase),
		Runs: runs(p),
	}})
}

// runs is what history.Op has of the start that this pod is of.
func runs(p *corev1.Pod) string {
	for _, c := range p.Spec.Containers {
		for _, e := range c.Env {
			if e.Name == startWord {
				return c.Image + " " + e.Value
			}
		}
	}
	return ""
}
