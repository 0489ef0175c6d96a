package sandbox_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

const (
	runtimeA = "abcdefghijklmnop"
	runtimeB = "ponmlkjihgfedcba"
)

// born is when records and pods of these tests are made; at is some time after.
var born = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func at(d time.Duration) time.Time { return born.Add(d) }

func newRecord(change ...func(*sandbox.Record)) *sandbox.Record {
	r := &sandbox.Record{
		Name: sandbox.RecordName("default", "s"), UID: "record-uid", ResourceVersion: "7",
		Tenant: "default", SessionID: "s", RuntimeID: runtimeA, Desired: sandbox.Running,
		Generation: 1000, Incarnation: 1, Fence: 50, LastCommand: "command-50",
		Spec: sandbox.Spec{
			Image: "agent:1", Command: []string{"run"}, Environment: map[string]string{"A": "b"}, ResourceFactor: 1,
		},
		Route:      sandbox.Route{Label: "s", URL: "http://s.sandbar.localhost", WorkHosts: map[string]int{"http://work-1-s.sandbar.localhost": 12000}},
		SessionKey: "session-key", KeyNumber: 1, SecretKey: "secret-key",
		CreatedAt: born, ChangedAt: born,
	}
	for _, f := range change {
		f(r)
	}
	return r
}

func desired(d sandbox.Desired) func(*sandbox.Record) {
	return func(r *sandbox.Record) {
		r.Desired = d
		if d == sandbox.Stopped {
			r.Spec = sandbox.Spec{}
		}
	}
}

// newPod is the pod of newRecord, accepted and not yet scheduled.
func newPod(change ...func(*sandbox.Pod)) *sandbox.Pod {
	p := &sandbox.Pod{
		Name: sandbox.PodName(runtimeA, 1), UID: "pod-uid", Record: sandbox.RecordName("default", "s"), RecordUID: "record-uid",
		RuntimeID: runtimeA, Generation: 1000, Incarnation: 1, Order: 200, CreatedAt: born, Phase: "Pending",
	}
	for _, f := range change {
		f(p)
	}
	return p
}

func scheduled(p *sandbox.Pod) { p.Scheduled, p.ScheduledAt = true, p.CreatedAt }

func waiting(reason, message string) func(*sandbox.Pod) {
	return func(p *sandbox.Pod) {
		scheduled(p)
		c := &p.Container
		c.Known, c.Running, c.Started, c.Terminated = true, false, false, nil
		c.WaitingReason, c.WaitingMessage = reason, message
		p.Ready, p.ContainersReady = false, false
	}
}

func running(since time.Time) func(*sandbox.Pod) {
	return func(p *sandbox.Pod) {
		scheduled(p)
		p.Phase, p.IP = "Running", "10.1.2.3"
		c := &p.Container
		c.Known, c.Running, c.StartedAt, c.WaitingReason, c.WaitingMessage, c.Terminated = true, true, since, "", "", nil
	}
}

func started(p *sandbox.Pod) { p.Container.Started = true }

func ready(p *sandbox.Pod) {
	running(born)(p)
	p.Container.Started, p.Ready, p.ContainersReady = true, true, true
}

func unready(p *sandbox.Pod) {
	ready(p)
	p.Ready, p.ContainersReady = false, false
}

func ended(reason string, code int, message string) *sandbox.Termination {
	return &sandbox.Termination{Reason: reason, ExitCode: code, Message: message}
}

func terminated(t *sandbox.Termination) func(*sandbox.Pod) {
	return func(p *sandbox.Pod) {
		scheduled(p)
		p.Phase, p.IP, p.Ready, p.ContainersReady = "Running", "10.1.2.3", false, false
		c := &p.Container
		c.Known, c.Running, c.Started, c.WaitingReason, c.WaitingMessage, c.Terminated = true, false, false, "", "", t
	}
}

func restarted(n int, last *sandbox.Termination) func(*sandbox.Pod) {
	return func(p *sandbox.Pod) { p.Container.RestartCount, p.Container.LastTerminated = n, last }
}

func terminating(p *sandbox.Pod) { p.Terminating = true }

func disrupted(reason, message string) func(*sandbox.Pod) {
	return func(p *sandbox.Pod) { p.DisruptionReason, p.DisruptionMessage = reason, message }
}

// deleted is what is told of a pod that somebody deleted without a word.
const deleted = "the pod is being deleted"

func phase(phase, reason, message string) func(*sandbox.Pod) {
	return func(p *sandbox.Pod) { p.Phase, p.Reason, p.Message = phase, reason, message }
}

// seen is the view that was written before.
func seen(status sandbox.Status, pod sandbox.PodStatus, change ...func(*sandbox.View)) *sandbox.View {
	v := &sandbox.View{RuntimeID: runtimeA, Generation: 1000, Incarnation: 1, Order: 100, Status: status, PodStatus: pod}
	for _, f := range change {
		f(v)
	}
	return v
}

var servedBefore = seen(sandbox.StatusRunning, sandbox.PodReady)

const schedulerText = "0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, " +
	"2 Insufficient cpu. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."

const kubeletText = `Back-off pulling image "registry.invalid/agent:1": ErrImagePull: failed to pull and unpack image: not found`

func TestObserve(t *testing.T) {
	t.Parallel()
	grace, patience := sandbox.DefaultPolicy.ReadinessGrace, sandbox.DefaultPolicy.StartGrace
	type want struct {
		status  sandbox.Status
		pod     sandbox.PodStatus
		detail  string
		again   time.Time
		order   uint64
		address string
		unready time.Time
		noKey   bool
		logs    string
	}
	const listed, ofPod, ofRecord = 300, 200, 7 // orders
	for name, c := range map[string]struct {
		record *sandbox.Record
		pod    *sandbox.Pod
		prev   *sandbox.View
		now    time.Time
		want   want
	}{
		"no pod": {want: want{status: "starting", pod: "not found", order: listed}},
		"no pod any more, after it served": {
			prev: servedBefore, want: want{status: "starting", pod: "not found", order: listed},
		},
		"another incarnation's pod": {
			pod: newPod(ready, func(p *sandbox.Pod) { p.Incarnation = 2 }), want: want{status: "starting", pod: "not found", order: listed},
		},
		"another runtime's pod": {
			pod: newPod(ready, func(p *sandbox.Pod) { p.RuntimeID = runtimeB }), want: want{status: "starting", pod: "not found", order: listed},
		},
		"pod without a word": {pod: newPod(), want: want{status: "starting", pod: "pending", order: ofPod}},
		"unschedulable": {
			pod:  newPod(func(p *sandbox.Pod) { p.ScheduledReason, p.ScheduledMessage = "Unschedulable", schedulerText }),
			want: want{status: "starting", pod: "pending", detail: "Unschedulable: " + schedulerText, order: ofPod},
		},
		"unschedulable for a day": {
			pod:  newPod(func(p *sandbox.Pod) { p.ScheduledReason, p.ScheduledMessage = "Unschedulable", schedulerText }),
			now:  at(24 * time.Hour),
			want: want{status: "starting", pod: "pending", detail: "Unschedulable: " + schedulerText, order: ofPod},
		},
		"scheduling gated": {
			pod:  newPod(func(p *sandbox.Pod) { p.ScheduledReason = "SchedulingGated" }),
			want: want{status: "starting", pod: "pending", detail: "SchedulingGated", order: ofPod},
		},
		"scheduled, an old word of the scheduler is not shown": {
			pod:  newPod(scheduled, func(p *sandbox.Pod) { p.ScheduledReason, p.ScheduledMessage = "Unschedulable", schedulerText }),
			want: want{status: "starting", pod: "pending", order: ofPod},
		},
		"ContainerCreating": {pod: newPod(waiting("ContainerCreating", "")), want: want{status: "starting", pod: "pending", order: ofPod}},
		"PodInitializing":   {pod: newPod(waiting("PodInitializing", "")), want: want{status: "starting", pod: "pending", order: ofPod}},
		"ErrImagePull within the grace": {
			pod: newPod(waiting("ErrImagePull", "not found")), now: at(patience - time.Second),
			want: want{status: "starting", pod: "pending", detail: "ErrImagePull: not found", again: at(patience), order: ofPod},
		},
		"ImagePullBackOff within the grace": {
			pod: newPod(waiting("ImagePullBackOff", kubeletText)), now: at(time.Second),
			want: want{status: "starting", pod: "pending", detail: "ImagePullBackOff: " + kubeletText, again: at(patience), order: ofPod},
		},
		"ErrImagePull after the grace": {
			pod: newPod(waiting("ErrImagePull", "not found")), now: at(patience),
			want: want{status: "error", pod: "failed", detail: "ErrImagePull: not found", order: ofPod},
		},
		"ImagePullBackOff after the grace": {
			pod: newPod(waiting("ImagePullBackOff", kubeletText)), now: at(patience + time.Hour),
			want: want{status: "error", pod: "failed", detail: "ImagePullBackOff: " + kubeletText, order: ofPod},
		},
		"the grace begins when there is a node": {
			pod: newPod(waiting("ErrImagePull", "not found"), func(p *sandbox.Pod) { p.ScheduledAt = at(time.Hour) }), now: at(time.Hour + time.Second),
			want: want{status: "starting", pod: "pending", detail: "ErrImagePull: not found", again: at(time.Hour + patience), order: ofPod},
		},
		"the grace begins anew when the container ended": {
			pod: newPod(waiting("ImagePullBackOff", kubeletText), restarted(1, &sandbox.Termination{Reason: "Error", ExitCode: 1, FinishedAt: at(2 * time.Hour)})),
			now: at(2*time.Hour + time.Second), prev: servedBefore,
			want: want{status: "starting", pod: "pending", detail: "ImagePullBackOff: " + kubeletText, again: at(2*time.Hour + patience), order: ofPod},
		},
		"InvalidImageName has no grace": {
			pod: newPod(waiting("InvalidImageName", `couldn't parse image name "A:B:C"`)), now: at(0),
			want: want{status: "error", pod: "failed", detail: `InvalidImageName: couldn't parse image name "A:B:C"`, order: ofPod},
		},
		"CreateContainerConfigError within the grace": {
			pod: newPod(waiting("CreateContainerConfigError", "couldn't find key session_key.2")), now: at(time.Second),
			want: want{status: "starting", pod: "pending", detail: "CreateContainerConfigError: couldn't find key session_key.2", again: at(patience), order: ofPod},
		},
		"CreateContainerConfigError after the grace": {
			pod: newPod(waiting("CreateContainerConfigError", "couldn't find key session_key.2")), now: at(patience),
			want: want{status: "error", pod: "failed", detail: "CreateContainerConfigError: couldn't find key session_key.2", order: ofPod},
		},
		"CreateContainerError whose message begins with the reason": {
			pod: newPod(waiting("CreateContainerError", "CreateContainerError: context deadline exceeded")), now: at(time.Second),
			want: want{status: "starting", pod: "pending", detail: "CreateContainerError: context deadline exceeded", again: at(patience), order: ofPod},
		},
		"running, not started": {
			pod: newPod(running(born)), want: want{status: "starting", pod: "running", order: ofPod, address: "10.1.2.3"},
		},
		"started, not ready": {
			pod: newPod(running(born), started), want: want{status: "starting", pod: "running", order: ofPod, address: "10.1.2.3"},
		},
		"ready": {pod: newPod(ready), want: want{status: "running", pod: "ready", order: ofPod, address: "10.1.2.3"}},
		"ready after an error": {
			pod: newPod(ready), prev: seen(sandbox.StatusError, sandbox.PodCrashLoop, func(v *sandbox.View) { v.StatusDetail, v.PodLogs = "old", "old" }),
			want: want{status: "running", pod: "ready", order: ofPod, address: "10.1.2.3"},
		},
		"readiness blip begins": {
			pod: newPod(unready), prev: servedBefore, now: at(time.Minute),
			want: want{status: "running", pod: "running", order: ofPod, address: "10.1.2.3", unready: at(time.Minute), again: at(time.Minute + grace)},
		},
		"readiness blip goes on": {
			pod: newPod(unready), now: at(time.Minute + grace - 1),
			prev: seen(sandbox.StatusRunning, sandbox.PodRunning, func(v *sandbox.View) { v.UnreadySince = at(time.Minute) }),
			want: want{status: "running", pod: "running", order: ofPod, address: "10.1.2.3", unready: at(time.Minute), again: at(time.Minute + grace)},
		},
		"readiness blip is over its grace": {
			pod: newPod(unready), now: at(time.Minute + grace),
			prev: seen(sandbox.StatusRunning, sandbox.PodRunning, func(v *sandbox.View) { v.UnreadySince = at(time.Minute) }),
			want: want{status: "starting", pod: "running", detail: "the readiness probe fails", order: ofPod, address: "10.1.2.3"},
		},
		"readiness still fails, the detail stays": {
			pod: newPod(unready), now: at(time.Hour),
			prev: seen(sandbox.StatusStarting, sandbox.PodRunning, func(v *sandbox.View) { v.StatusDetail = "the readiness probe fails" }),
			want: want{status: "starting", pod: "running", detail: "the readiness probe fails", order: ofPod, address: "10.1.2.3"},
		},
		"readiness blip ends": {
			pod: newPod(ready), now: at(time.Minute),
			prev: seen(sandbox.StatusRunning, sandbox.PodRunning, func(v *sandbox.View) { v.UnreadySince = at(time.Minute) }),
			want: want{status: "running", pod: "ready", order: ofPod, address: "10.1.2.3"},
		},
		"a new incarnation has no blip": {
			pod: newPod(unready), prev: seen(sandbox.StatusRunning, sandbox.PodReady, func(v *sandbox.View) { v.Incarnation = 0 }),
			want: want{status: "starting", pod: "running", order: ofPod, address: "10.1.2.3"},
		},
		"a new runtime has no blip": {
			pod: newPod(unready), prev: seen(sandbox.StatusRunning, sandbox.PodReady, func(v *sandbox.View) { v.RuntimeID = runtimeB }),
			want: want{status: "starting", pod: "running", order: ofPod, address: "10.1.2.3"},
		},
		"first crash, about to be restarted": {
			pod: newPod(terminated(ended("Error", 3, ""))), prev: servedBefore,
			want: want{status: "starting", pod: "running", detail: "Error: exit code 3", order: ofPod, address: "10.1.2.3"},
		},
		"restarted after the first crash": {
			pod:  newPod(running(at(time.Minute)), restarted(1, ended("Error", 3, "panic"))),
			want: want{status: "starting", pod: "running", detail: "Error: exit code 3: panic", order: ofPod, address: "10.1.2.3"},
		},
		"CrashLoopBackOff": {
			pod:  newPod(waiting("CrashLoopBackOff", "back-off 10s"), restarted(1, ended("Error", 3, "panic")), func(p *sandbox.Pod) { p.Logs = "the end" }),
			want: want{status: "error", pod: "crashloopbackoff", detail: "CrashLoopBackOff: Error: exit code 3: panic", order: ofPod, logs: "the end"},
		},
		"CrashLoopBackOff, how it ended is not known": {
			pod:  newPod(waiting("CrashLoopBackOff", "back-off 5m0s restarting failed container")),
			want: want{status: "error", pod: "crashloopbackoff", detail: "CrashLoopBackOff: back-off 5m0s restarting failed container", order: ofPod},
		},
		"crashed again and again, runs for a moment": {
			pod: newPod(running(at(time.Minute)), restarted(2, ended("Error", 3, ""))), now: at(time.Minute + time.Second),
			want: want{status: "error", pod: "crashloopbackoff", detail: "CrashLoopBackOff: Error: exit code 3", order: ofPod, again: at(time.Minute + 15*time.Second)},
		},
		"crashed again and again, runs steadily": {
			pod: newPod(running(at(time.Minute)), restarted(2, ended("Error", 3, ""))), now: at(time.Minute + 15*time.Second),
			want: want{status: "starting", pod: "running", detail: "Error: exit code 3", order: ofPod, address: "10.1.2.3"},
		},
		"crashed again and again, started": {
			pod: newPod(running(at(time.Minute)), started, restarted(9, ended("Error", 3, ""))), now: at(time.Minute),
			want: want{status: "starting", pod: "running", detail: "Error: exit code 3", order: ofPod, address: "10.1.2.3"},
		},
		"crashed again and again, serves": {
			pod: newPod(ready, restarted(9, ended("Error", 3, ""))), want: want{status: "running", pod: "ready", order: ofPod, address: "10.1.2.3"},
		},
		"its command cannot be run, again": {
			pod:  newPod(waiting("RunContainerError", "exec: \"nope\": executable file not found in $PATH"), restarted(1, ended("StartError", 128, ""))),
			now:  at(time.Minute),
			want: want{status: "error", pod: "crashloopbackoff", detail: "CrashLoopBackOff: StartError: exit code 128", order: ofPod},
		},
		"its command cannot be run, the first time": {
			pod:  newPod(waiting("RunContainerError", "exec: \"nope\": executable file not found in $PATH"), restarted(0, ended("StartError", 128, ""))),
			now:  at(time.Minute),
			want: want{status: "starting", pod: "pending", detail: "RunContainerError: exec: \"nope\": executable file not found in $PATH", order: ofPod, again: at(patience)},
		},
		"OOMKilled": {
			pod:  newPod(terminated(ended("OOMKilled", 137, ""))),
			want: want{status: "error", pod: "crashloopbackoff", detail: "CrashLoopBackOff: OOMKilled: exit code 137", order: ofPod},
		},
		"OOMKilled, runs again": {
			pod: newPod(running(at(time.Minute)), restarted(1, ended("OOMKilled", 137, ""))), now: at(time.Minute),
			want: want{status: "error", pod: "crashloopbackoff", detail: "CrashLoopBackOff: OOMKilled: exit code 137", order: ofPod, again: at(time.Minute + 15*time.Second)},
		},
		"OOMKilled, serves again": {
			pod:  newPod(ready, restarted(1, ended("OOMKilled", 137, ""))),
			want: want{status: "running", pod: "ready", order: ofPod, address: "10.1.2.3"},
		},
		"its node was restarted": {
			pod:  newPod(waiting("ContainerCreating", ""), restarted(3, ended("Unknown", 255, ""))),
			want: want{status: "starting", pod: "pending", order: ofPod},
		},
		"evicted": {
			pod: newPod(unready, phase("Failed", "Evicted", "The node was low on resource: memory."), func(p *sandbox.Pod) { p.Logs = "the end" }), prev: servedBefore,
			want: want{status: "error", pod: "failed", detail: "Evicted: The node was low on resource: memory.", order: ofPod, logs: "the end"},
		},
		"failed without a word": {
			pod:  newPod(terminated(ended("Error", 7, "fatal")), phase("Failed", "", "")),
			want: want{status: "error", pod: "failed", detail: "Error: exit code 7: fatal", order: ofPod},
		},
		"succeeded": {
			pod:  newPod(terminated(ended("Completed", 0, "")), phase("Succeeded", "", "")),
			want: want{status: "error", pod: "failed", detail: "Completed: exit code 0", order: ofPod},
		},
		"succeeded as the node needed room": {
			pod: newPod(terminated(ended("Completed", 0, "")), phase("Succeeded", "", ""),
				disrupted("TerminationByKubelet", "The node was low on resource: memory.")),
			want: want{status: "error", pod: "failed", detail: "TerminationByKubelet: The node was low on resource: memory.", order: ofPod},
		},
		"logs that the watcher fetched stay": {
			pod: newPod(phase("Failed", "Evicted", "")), prev: seen(sandbox.StatusError, sandbox.PodFailed, func(v *sandbox.View) { v.PodLogs = "fetched" }),
			want: want{status: "error", pod: "failed", detail: "Evicted", order: ofPod, logs: "fetched"},
		},
		"logs of another incarnation do not": {
			pod:  newPod(phase("Failed", "Evicted", "")),
			prev: seen(sandbox.StatusError, sandbox.PodFailed, func(v *sandbox.View) { v.PodLogs, v.Incarnation = "fetched", 0 }),
			want: want{status: "error", pod: "failed", detail: "Evicted", order: ofPod},
		},
		"node lost keeps running": {
			pod: newPod(ready, func(p *sandbox.Pod) { p.Ready = false }), prev: servedBefore, now: at(time.Hour),
			want: want{status: "running", pod: "ready", order: ofPod, address: "10.1.2.3"},
		},
		"node lost keeps error": {
			pod:  newPod(ready, func(p *sandbox.Pod) { p.Ready = false }),
			prev: seen(sandbox.StatusError, sandbox.PodCrashLoop, func(v *sandbox.View) { v.StatusDetail = "CrashLoopBackOff: Error: exit code 1" }),
			want: want{status: "error", pod: "crashloopbackoff", detail: "CrashLoopBackOff: Error: exit code 1", order: ofPod},
		},
		"node lost, nothing known before": {
			pod: newPod(ready, func(p *sandbox.Pod) { p.Ready = false }), want: want{status: "running", pod: "ready", order: ofPod, address: "10.1.2.3"},
		},
		"terminating while it serves": {
			pod: newPod(ready, terminating), prev: servedBefore,
			want: want{status: "starting", pod: "not found", detail: deleted, order: ofPod},
		},
		"terminating, by a drain": {
			pod: newPod(ready, terminating, disrupted("EvictionByEvictionAPI", "Eviction API: evicting")), prev: servedBefore,
			want: want{status: "starting", pod: "not found", detail: "EvictionByEvictionAPI: Eviction API: evicting", order: ofPod},
		},
		"terminating on a lost node": {
			pod:  newPod(ready, func(p *sandbox.Pod) { p.Ready = false }, terminating, disrupted("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint")),
			prev: servedBefore,
			want: want{status: "starting", pod: "not found", detail: "DeletionByTaintManager: Taint manager: deleting due to NoExecute taint", order: ofPod},
		},
		"disrupted, not terminating yet": {
			pod: newPod(ready, disrupted("PreemptionByScheduler", "x")), prev: servedBefore,
			want: want{status: "running", pod: "ready", order: ofPod, address: "10.1.2.3"},
		},
		"no pod, why was told": {
			prev: seen(sandbox.StatusStarting, sandbox.PodNotFound, func(v *sandbox.View) { v.StatusDetail = "exceeded quota: compute" }),
			want: want{status: "starting", pod: "not found", detail: "exceeded quota: compute", order: listed},
		},
		"no pod, what was told of the last incarnation is over": {
			prev: seen(sandbox.StatusStarting, sandbox.PodNotFound, func(v *sandbox.View) { v.StatusDetail, v.Incarnation = deleted, 0 }),
			want: want{status: "starting", pod: "not found", order: listed},
		},
		"no pod, what was told of its pod is over": {
			prev: seen(sandbox.StatusStarting, sandbox.PodPending, func(v *sandbox.View) { v.StatusDetail = schedulerText }),
			want: want{status: "starting", pod: "not found", order: listed},
		},
		"a pod again, what was told without one is over": {
			pod: newPod(), prev: seen(sandbox.StatusStarting, sandbox.PodNotFound, func(v *sandbox.View) { v.StatusDetail = "exceeded quota: compute" }),
			want: want{status: "starting", pod: "pending", order: ofPod},
		},
		"terminating, its container ended": { // as a drained node leaves it for a moment
			pod:  newPod(terminated(ended("Error", 143, "")), phase("Failed", "", ""), terminating),
			want: want{status: "starting", pod: "not found", detail: deleted, order: ofPod},
		},
		"terminating, its container ended well": {
			pod:  newPod(terminated(ended("Completed", 0, "")), phase("Succeeded", "", ""), terminating),
			want: want{status: "starting", pod: "not found", detail: deleted, order: ofPod},
		},
		"phase unknown is never shown": {
			pod:  newPod(phase("Unknown", "NodeLost", "")),
			want: want{status: "starting", pod: "pending", order: ofPod},
		},
		"paused, the pod still serves": {
			record: newRecord(desired(sandbox.Paused)), pod: newPod(ready), prev: servedBefore,
			want: want{status: "paused", pod: "not found", order: ofRecord},
		},
		"paused":  {record: newRecord(desired(sandbox.Paused)), want: want{status: "paused", pod: "not found", order: ofRecord}},
		"stopped": {record: newRecord(desired(sandbox.Stopped)), want: want{status: "stopped", pod: "not found", order: ofRecord, noKey: true}},
		"stopped, the pod still serves": {
			record: newRecord(desired(sandbox.Stopped)), pod: newPod(ready), prev: servedBefore,
			want: want{status: "stopped", pod: "not found", order: ofRecord, noKey: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, now := c.record, c.now
			if r == nil {
				r = newRecord()
			}
			if now.IsZero() {
				now = at(10 * time.Second)
			}
			v, again := sandbox.Observe(r, c.pod, c.prev, listed, sandbox.DefaultPolicy, now)
			got := want{v.Status, v.PodStatus, v.StatusDetail, again, v.Order, v.Address, v.UnreadySince, v.SessionKey == "", v.PodLogs}
			if got != c.want {
				t.Errorf("\n got %+v\nwant %+v", got, c.want)
			}
			if v.RuntimeID != r.RuntimeID || v.Tenant != r.Tenant || v.SessionID != r.SessionID || v.Record != r.Name || v.RecordUID != r.UID ||
				v.Generation != r.Generation || v.Incarnation != r.Incarnation || v.LastCommand != r.LastCommand ||
				v.Route.URL != r.Route.URL || !v.CreatedAt.Equal(r.CreatedAt) || v.Image != r.Spec.Image {
				t.Errorf("the view is not of the record: %+v", v)
			}
		})
	}
}

// It served once for the client that started or resumed it, in whichever pod.
func TestObserveServed(t *testing.T) {
	t.Parallel()
	served := func(v *sandbox.View) { v.Served = true }
	next := func(r *sandbox.Record) { r.Generation, r.Incarnation = 1001, 2 }
	for name, c := range map[string]struct {
		record *sandbox.Record
		pod    *sandbox.Pod
		prev   *sandbox.View
		want   bool
	}{
		"ready":               {newRecord(), newPod(ready), nil, true},
		"not yet":             {newRecord(), newPod(), seen("starting", "pending"), false},
		"before":              {newRecord(), newPod(unready), seen("starting", "running", served), true},
		"in a pod before":     {newRecord(next, func(r *sandbox.Record) { r.Begun = 1000 }), newPod(func(p *sandbox.Pod) { p.Incarnation = 2 }), seen("starting", "not found", served), true},
		"before a resume":     {newRecord(next, func(r *sandbox.Record) { r.Begun = 1001 }), newPod(func(p *sandbox.Pod) { p.Incarnation = 2 }), seen("running", "ready", served), false},
		"the record is older": {newRecord(next), newPod(func(p *sandbox.Pod) { p.Incarnation = 2 }), seen("running", "ready", served), false},
		"another sandbox":     {newRecord(), newPod(), seen("running", "ready", served, func(v *sandbox.View) { v.RuntimeID = runtimeB }), false},
		"paused":              {newRecord(desired(sandbox.Paused)), nil, seen("running", "ready", served), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if v, _ := sandbox.Observe(c.record, c.pod, c.prev, 0, sandbox.DefaultPolicy, at(0)); v.Served != c.want {
				t.Errorf("served is %t: %+v", v.Served, v)
			}
		})
	}
}

func TestObserveRestarts(t *testing.T) {
	t.Parallel()
	v, _ := sandbox.Observe(newRecord(), newPod(terminated(ended("Error", 1, "")), restarted(4, ended("OOMKilled", 137, ""))), nil, 0, sandbox.DefaultPolicy, at(0))
	if v.RestartCount != 4 || strings.Join(v.RestartReasons, " ") != "OOMKilled Error" {
		t.Errorf("%d %q", v.RestartCount, v.RestartReasons)
	}
	v, _ = sandbox.Observe(newRecord(desired(sandbox.Paused)), newPod(ready, restarted(4, ended("Error", 1, ""))), nil, 0, sandbox.DefaultPolicy, at(0))
	if v.RestartCount != 0 || v.RestartReasons != nil {
		t.Errorf("a paused sandbox has restarts: %d %q", v.RestartCount, v.RestartReasons)
	}
}

func TestObserveNeverShowsNullWorkHosts(t *testing.T) {
	t.Parallel()
	v, _ := sandbox.Observe(newRecord(func(r *sandbox.Record) { r.Route.WorkHosts = nil }), nil, nil, 0, sandbox.DefaultPolicy, at(0))
	if v.Route.WorkHosts == nil {
		t.Error("work hosts are nil")
	}
}

// A view stays small whatever a container leaves as its last words, and valid
// UTF-8 where they are cut.
func TestObserveBoundsDetail(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("€", 4000)
	for name, p := range map[string]*sandbox.Pod{
		"scheduler":   newPod(func(p *sandbox.Pod) { p.ScheduledReason, p.ScheduledMessage = "Unschedulable", long }),
		"waiting":     newPod(waiting("ErrImagePull", long)),
		"crash loop":  newPod(waiting("CrashLoopBackOff", ""), restarted(3, ended("Error", 1, long))),
		"terminated":  newPod(terminated(ended("Error", 1, long))),
		"failed":      newPod(phase("Failed", "Evicted", long)),
		"disrupted":   newPod(terminating, disrupted("EvictionByEvictionAPI", long)),
		"failed, ran": newPod(terminated(ended("Error", 1, long)), phase("Failed", "", "")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, _ := sandbox.Observe(newRecord(), p, nil, 0, sandbox.DefaultPolicy, at(0))
			if n := len(v.StatusDetail); n < 1000 || n > 2048 {
				t.Errorf("%d bytes", n)
			}
			if strings.ToValidUTF8(v.StatusDetail, "?") != v.StatusDetail {
				t.Error("cut within a character")
			}
		})
	}
}

func TestFailed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		record *sandbox.Record
		pod    *sandbox.Pod
		want   bool
	}{
		"no record":             {nil, newPod(phase("Failed", "Evicted", "")), false},
		"no pod":                {newRecord(), nil, false},
		"evicted":               {newRecord(), newPod(phase("Failed", "Evicted", "")), true},
		"crash loop":            {newRecord(), newPod(waiting("CrashLoopBackOff", "")), true},
		"serves":                {newRecord(), newPod(ready), false},
		"pending":               {newRecord(), newPod(), false},
		"paused":                {newRecord(desired(sandbox.Paused)), newPod(phase("Failed", "Evicted", "")), false},
		"stopped":               {newRecord(desired(sandbox.Stopped)), newPod(phase("Failed", "Evicted", "")), false},
		"another incarnation's": {newRecord(func(r *sandbox.Record) { r.Incarnation = 2 }), newPod(phase("Failed", "Evicted", "")), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := sandbox.Failed(c.record, c.pod, sandbox.DefaultPolicy, at(time.Second)); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestEnding(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		record *sandbox.Record
		pod    *sandbox.Pod
		want   bool
	}{
		"no record":        {nil, newPod(terminating), false},
		"no pod":           {newRecord(), nil, false},
		"serves":           {newRecord(), newPod(ready), false},
		"failed":           {newRecord(), newPod(phase("Failed", "Evicted", "")), false},
		"being deleted":    {newRecord(), newPod(ready, terminating), true},
		"another record's": {newRecord(), newPod(ready, func(p *sandbox.Pod) { p.RecordUID = "before" }), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := sandbox.Ending(c.record, c.pod); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// A refusal is told of a sandbox that waits for a pod, and of no other.
func TestRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		view *sandbox.View
		why  string
		want string
	}{
		"waits for a pod": {seen(sandbox.StatusStarting, sandbox.PodNotFound), "exceeded quota", "exceeded quota"},
		"nothing to tell": {seen(sandbox.StatusStarting, sandbox.PodNotFound, func(v *sandbox.View) { v.StatusDetail = "before" }), "", "before"},
		"has a pod":       {seen(sandbox.StatusStarting, sandbox.PodPending), "exceeded quota", ""},
		"paused":          {seen(sandbox.StatusPaused, sandbox.PodNotFound), "exceeded quota", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := c.view.Clone()
			if v.Refused(c.why); v.StatusDetail != c.want {
				t.Errorf("%q", v.StatusDetail)
			}
		})
	}
	v := seen(sandbox.StatusStarting, sandbox.PodNotFound)
	if v.Refused(strings.Repeat("€", 4000)); len(v.StatusDetail) > 2048 || strings.ToValidUTF8(v.StatusDetail, "?") != v.StatusDetail {
		t.Errorf("%d bytes", len(v.StatusDetail))
	}
}
