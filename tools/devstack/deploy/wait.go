package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
)

// waitAvailable waits until every pod of the newest version is available and no
// older one is left. Its error says what keeps the others.
func waitAvailable(ctx context.Context, client kubernetes.Interface, namespace string) error {
	var waiting []string
	err := poll(ctx, availableLimit, func(ctx context.Context) error {
		names, err := unavailable(ctx, client, namespace)
		if err != nil {
			return err
		}
		if waiting = names; len(waiting) > 0 {
			return errNotYet
		}
		return nil
	})
	if errors.Is(err, errNotYet) {
		return fmt.Errorf("not available after %s: %s%s", availableLimit, strings.Join(waiting, ", "), troubles(ctx, client, namespace))
	}
	return err
}

var errNotYet = errors.New("not yet")

// poll asks until there is no error, and returns the last one otherwise.
func poll(ctx context.Context, limit time.Duration, ask func(context.Context) error) error {
	last := errNotYet
	err := wait.PollUntilContextTimeout(ctx, pollEvery, limit, true, func(ctx context.Context) (bool, error) {
		err := ask(ctx)
		if ctx.Err() == nil { // else it is only the error of the end itself
			last = err
		}
		return err == nil, nil
	})
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return last
}

func unavailable(ctx context.Context, client kubernetes.Interface, namespace string) (names []string, err error) {
	deployments, err := client.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("deployments: %w", err)
	}
	for _, d := range deployments.Items {
		if !rolledOut(d) {
			names = append(names, d.Name)
		}
	}
	sets, err := client.AppsV1().StatefulSets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("stateful sets: %w", err)
	}
	for _, s := range sets.Items {
		want := *s.Spec.Replicas
		if st := s.Status; st.ObservedGeneration < s.Generation || st.UpdatedReplicas != want || st.AvailableReplicas != want || st.CurrentRevision != st.UpdateRevision {
			names = append(names, s.Name)
		}
	}
	return names, nil
}

func rolledOut(d appsv1.Deployment) bool {
	want, s := *d.Spec.Replicas, d.Status
	return s.ObservedGeneration >= d.Generation && s.UpdatedReplicas == want && s.AvailableReplicas == want && s.Replicas == want
}

// troubles are the pods that are not ready, with what the cluster says of each and
// the end of its log.
func troubles(ctx context.Context, client kubernetes.Interface, namespace string) string {
	pods, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return ""
	}
	var out strings.Builder
	for _, p := range pods.Items {
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status != corev1.ConditionTrue {
				fmt.Fprintf(&out, "\n  pod %s: %s", p.Name, c.Message)
			}
		}
		for _, c := range p.Status.ContainerStatuses {
			if c.Ready {
				continue
			}
			fmt.Fprintf(&out, "\n  pod %s: %d restarts", p.Name, c.RestartCount)
			if w := c.State.Waiting; w != nil {
				fmt.Fprintf(&out, ", %s: %s", w.Reason, w.Message)
			}
			out.WriteString(lastLines(ctx, client, p, c))
		}
	}
	return out.String()
}

func lastLines(ctx context.Context, client kubernetes.Interface, p corev1.Pod, c corev1.ContainerStatus) string {
	lines := int64(5)
	raw, err := client.CoreV1().Pods(p.Namespace).GetLogs(p.Name, &corev1.PodLogOptions{
		Container: c.Name, TailLines: &lines, Previous: c.RestartCount > 0 && c.State.Running == nil,
	}).DoRaw(ctx)
	if err != nil || len(raw) == 0 {
		return ""
	}
	return "\n    " + strings.ReplaceAll(strings.TrimSpace(string(raw)), "\n", "\n    ")
}

func waitGone(ctx context.Context, client kubernetes.Interface, namespace string) error {
	err := poll(ctx, goneLimit, func(ctx context.Context) error {
		ns, err := client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		var why []string
		for _, c := range ns.Status.Conditions {
			if c.Status == corev1.ConditionTrue {
				why = append(why, c.Message)
			}
		}
		return fmt.Errorf("it is still there: %s", strings.Join(why, "; "))
	})
	if err != nil {
		return fmt.Errorf("namespace %s: %w", namespace, err)
	}
	return nil
}
