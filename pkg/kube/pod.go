package kube

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// ContainerName is the name of the sandbox's one container.
const ContainerName = "sandbox"

// Order reads a resourceVersion as a number; the API server promises since 1.35
// that it can be compared, and never did otherwise with etcd. 0 if it cannot be
// read.
func Order(resourceVersion string) uint64 {
	n, err := strconv.ParseUint(resourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// PodOf is a pod as pkg/sandbox sees it.
func PodOf(p *corev1.Pod) sandbox.Pod {
	l := p.Labels
	out := sandbox.Pod{
		Name: p.Name, UID: string(p.UID), Record: l[LabelRecord], RecordUID: l[LabelRecordUID],
		RuntimeID: l[LabelRuntimeID], Generation: number(l[LabelGeneration]), Incarnation: number(l[LabelIncarnation]),
		Order: Order(p.ResourceVersion), CreatedAt: p.CreationTimestamp.Time, Terminating: p.DeletionTimestamp != nil,
		Phase: string(p.Status.Phase), Reason: p.Status.Reason, Message: p.Status.Message, IP: p.Status.PodIP,
		Scheduled: p.Spec.NodeName != "",
	}
	for _, c := range p.Status.Conditions {
		switch c.Type {
		case corev1.PodScheduled:
			out.Scheduled = out.Scheduled || c.Status == corev1.ConditionTrue
			if c.Status == corev1.ConditionTrue {
				out.ScheduledAt = c.LastTransitionTime.Time
			} else {
				out.ScheduledReason, out.ScheduledMessage = c.Reason, c.Message
			}
		case corev1.PodReady:
			if out.Ready = c.Status == corev1.ConditionTrue; out.Ready {
				out.ReadyAt = c.LastTransitionTime.Time
			}
		case corev1.DisruptionTarget:
			if c.Status == corev1.ConditionTrue {
				out.DisruptionReason, out.DisruptionMessage = c.Reason, c.Message
			}
		case corev1.ContainersReady:
			out.ContainersReady = c.Status == corev1.ConditionTrue
		}
	}
	for i := range p.Status.ContainerStatuses {
		if c := &p.Status.ContainerStatuses[i]; c.Name == ContainerName {
			out.Container = container(c)
		}
	}
	return out
}

func container(c *corev1.ContainerStatus) sandbox.Container {
	out := sandbox.Container{
		Known: true, Started: c.Started != nil && *c.Started, RestartCount: int(c.RestartCount),
		Terminated: termination(c.State.Terminated), LastTerminated: termination(c.LastTerminationState.Terminated),
	}
	if s := c.State.Running; s != nil {
		out.Running, out.StartedAt = true, s.StartedAt.Time
	}
	if s := c.State.Waiting; s != nil {
		out.WaitingReason, out.WaitingMessage = s.Reason, s.Message
	}
	return out
}

func termination(t *corev1.ContainerStateTerminated) *sandbox.Termination {
	if t == nil {
		return nil
	}
	return &sandbox.Termination{Reason: t.Reason, ExitCode: int(t.ExitCode), Message: t.Message, FinishedAt: t.FinishedAt.Time}
}
