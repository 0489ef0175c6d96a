package sandbox_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// step is what the kubelet reports from a time on.
type step struct {
	at  time.Duration
	pod *sandbox.Pod
}

// live shows the pod as time goes on, looking whenever it changes and whenever
// Observe asked to look again, and returns the statuses that readers saw.
func live(t *testing.T, steps []step, end time.Duration) []sandbox.Status {
	t.Helper()
	var (
		prev  *sandbox.View
		out   []sandbox.Status
		again time.Time
	)
	look := func(p *sandbox.Pod, now time.Time) {
		v, next := sandbox.Observe(newRecord(), p, prev, 0, sandbox.DefaultPolicy, now)
		if !next.IsZero() && !next.After(now) {
			t.Fatalf("to look again at %v, which is not after %v", next, now)
		}
		if len(out) == 0 || out[len(out)-1] != v.Status {
			out = append(out, v.Status)
		}
		prev, again = &v, next
	}
	for i, s := range steps {
		until := at(end)
		if i+1 < len(steps) {
			until = at(steps[i+1].at)
		}
		look(s.pod, at(s.at))
		for !again.IsZero() && again.Before(until) {
			look(s.pod, again)
		}
	}
	return out
}

func TestCrashLoopDoesNotFlap(t *testing.T) {
	t.Parallel()
	exit := ended("Error", 1, "")
	oom := ended("OOMKilled", 137, "")
	start := ended("StartError", 128, "exec: not found")
	s := time.Second
	for name, c := range map[string]struct {
		steps []step
		want  []sandbox.Status
	}{
		// Kubelet restarts at once after the first end, then 10 s, 20 s, 40 s … later.
		"a program that ends at once": {
			[]step{
				{0, newPod(running(at(0)))},
				{1 * s, newPod(terminated(exit))},
				{2 * s, newPod(running(at(2*s)), restarted(1, exit))},
				{3 * s, newPod(terminated(exit), restarted(1, exit))},
				{4 * s, newPod(waiting("CrashLoopBackOff", "back-off 10s"), restarted(1, exit))},
				{14 * s, newPod(running(at(14*s)), restarted(2, exit))},
				{15 * s, newPod(terminated(exit), restarted(2, exit))},
				{16 * s, newPod(waiting("CrashLoopBackOff", "back-off 20s"), restarted(2, exit))},
				{36 * s, newPod(running(at(36*s)), restarted(3, exit))},
				{37 * s, newPod(waiting("CrashLoopBackOff", "back-off 40s"), restarted(3, exit))},
			},
			[]sandbox.Status{"starting", "error"},
		},
		"a program that eats memory": {
			[]step{
				{0, newPod(running(at(0)))},
				{1 * s, newPod(terminated(oom))},
				{2 * s, newPod(running(at(2*s)), restarted(1, oom))},
				{9 * s, newPod(terminated(oom), restarted(1, oom))},
				{10 * s, newPod(waiting("CrashLoopBackOff", ""), restarted(1, oom))},
				{20 * s, newPod(running(at(20*s)), restarted(2, oom))},
				{30 * s, newPod(waiting("CrashLoopBackOff", ""), restarted(2, oom))},
			},
			[]sandbox.Status{"starting", "error"},
		},
		"a command that is not there": {
			[]step{
				{0, newPod(waiting("ContainerCreating", ""))},
				{1 * s, newPod(waiting("RunContainerError", "exec: not found"), restarted(0, start))},
				{2 * s, newPod(waiting("CrashLoopBackOff", "back-off 10s"), restarted(1, start))},
				{12 * s, newPod(waiting("RunContainerError", "exec: not found"), restarted(2, start))},
				{13 * s, newPod(waiting("CrashLoopBackOff", "back-off 20s"), restarted(2, start))},
				{33 * s, newPod(waiting("RunContainerError", "exec: not found"), restarted(3, start))},
			},
			[]sandbox.Status{"starting", "error"},
		},
		"one crash, then well": {
			[]step{
				{0, newPod(running(at(0)))},
				{1 * s, newPod(terminated(exit))},
				{2 * s, newPod(running(at(2*s)), restarted(1, exit))},
				{9 * s, newPod(ready, restarted(1, exit))},
			},
			[]sandbox.Status{"starting", "running"},
		},
		"slow to start after some crashes": {
			[]step{
				{0, newPod(waiting("CrashLoopBackOff", ""), restarted(2, exit))},
				{10 * s, newPod(running(at(10*s)), restarted(3, exit))}, // starting at 25 s
				{60 * s, newPod(ready, restarted(3, exit))},
			},
			[]sandbox.Status{"error", "starting", "running"},
		},
		"drained": {
			[]step{
				{0, newPod(ready)},
				{1 * s, newPod(ready, terminating)},
				{2 * s, newPod(terminated(ended("Error", 143, "")), phase("Failed", "", ""), terminating)},
				{3 * s, nil},
				{4 * s, newPod()},
				{9 * s, newPod(ready)},
			},
			[]sandbox.Status{"running", "starting", "running"},
		},
		"a blip within the grace": {
			[]step{{0, newPod(ready)}, {10 * s, newPod(unready)}, {39 * s, newPod(ready)}, {50 * s, newPod(unready)}, {79 * s, newPod(ready)}},
			[]sandbox.Status{"running"},
		},
		"a blip over the grace": {
			[]step{{0, newPod(ready)}, {10 * s, newPod(unready)}, {41 * s, newPod(ready)}},
			[]sandbox.Status{"running", "starting", "running"},
		},
		"an image that never comes": {
			[]step{
				{0, newPod()},
				{1 * s, newPod(waiting("ContainerCreating", ""))},
				{2 * s, newPod(waiting("ErrImagePull", "not found"))},
				{9 * s, newPod(waiting("ImagePullBackOff", kubeletText))},
				{400 * s, newPod(waiting("ErrImagePull", "not found"))},
				{401 * s, newPod(waiting("ImagePullBackOff", kubeletText))},
			},
			[]sandbox.Status{"starting", "error"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := live(t, c.steps, 1000*s)
			if len(got) != len(c.want) {
				t.Fatalf("got %v, want %v", got, c.want)
			}
			for i := range got {
				if got[i] != c.want[i] {
					t.Fatalf("got %v, want %v", got, c.want)
				}
			}
		})
	}
}

// randomPod makes any pod, likely or not.
func randomPod(r *rand.Rand) *sandbox.Pod {
	if r.IntN(8) == 0 {
		return nil
	}
	one := func(of ...string) string { return of[r.IntN(len(of))] }
	yes := func() bool { return r.IntN(2) == 0 }
	end := func() *sandbox.Termination {
		if yes() {
			return nil
		}
		return &sandbox.Termination{Reason: one("", "Error", "OOMKilled", "Completed", "StartError"), ExitCode: r.IntN(3), Message: one("", "words"), FinishedAt: at(time.Duration(r.IntN(60)) * time.Second)}
	}
	p := newPod()
	p.Incarnation = int64(1 + r.IntN(8)/7)
	p.Phase = one("Pending", "Pending", "Running", "Running", "Running", "Failed", "Succeeded", "Unknown")
	p.Reason, p.Message, p.IP = one("", "", "Evicted"), one("", "words"), one("", "10.0.0.1")
	p.Terminating, p.Scheduled, p.Ready, p.ContainersReady = r.IntN(8) == 0, yes(), r.IntN(3) == 0, yes()
	p.ScheduledReason, p.Logs = one("", "Unschedulable"), one("", "logs")
	c := &p.Container
	c.Known, c.RestartCount, c.LastTerminated = yes(), r.IntN(4), end()
	switch r.IntN(4) {
	case 0:
		c.Running, c.Started, c.StartedAt = true, yes(), at(time.Duration(r.IntN(60))*time.Second)
	case 1:
		c.WaitingReason = one("ContainerCreating", "CrashLoopBackOff", "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "RunContainerError", "CreateContainerConfigError")
	case 2:
		c.Terminated = end()
	}
	return p
}

// What Observe says of one moment does not change by being asked again, and a
// time to look again is always to come: a watcher that looks at it never spins
// and never writes a view twice.
func TestObserveIsStable(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 20_000 {
		rec, p, prev := newRecord(), randomPod(r), (*sandbox.View)(nil)
		if r.IntN(8) == 0 {
			rec.Desired = []sandbox.Desired{sandbox.Paused, sandbox.Stopped}[r.IntN(2)]
		}
		now := at(time.Duration(r.IntN(600)) * time.Second)
		for ago := r.IntN(4); ago > 0; ago-- {
			v, _ := sandbox.Observe(rec, randomPod(r), prev, 0, sandbox.DefaultPolicy, now.Add(-time.Duration(20*ago+r.IntN(20))*time.Second))
			prev = &v
		}
		first, again := sandbox.Observe(rec, p, prev, 300, sandbox.DefaultPolicy, now)
		if !again.IsZero() && !again.After(now) {
			t.Fatalf("%d: to look again at %v, now is %v: %+v", i, again, now, p)
		}
		second, later := sandbox.Observe(rec, p, &first, 300, sandbox.DefaultPolicy, now)
		if !sandbox.SameForReaders(&first, &second) || !again.Equal(later) {
			t.Fatalf("%d: of %+v\nfirst  %+v %v\nsecond %+v %v", i, p, first, again, second, later)
		}
		switch first.PodStatus {
		case sandbox.PodNotFound, sandbox.PodPending, sandbox.PodRunning, sandbox.PodReady, sandbox.PodFailed, sandbox.PodCrashLoop:
		default:
			t.Fatalf("pod status %q", first.PodStatus)
		}
		failed := first.PodStatus == sandbox.PodFailed || first.PodStatus == sandbox.PodCrashLoop
		if (first.Status == sandbox.StatusError) != failed {
			t.Fatalf("%s, %s do not go together", first.Status, first.PodStatus)
		}
		if first.Status == sandbox.StatusError && first.Address != "" {
			t.Fatalf("a failed sandbox has an address: %+v", first)
		}
	}
}

// Observe reads, and changes nothing that it is given.
func TestObserveSharesNothing(t *testing.T) {
	t.Parallel()
	rec := newRecord()
	v, _ := sandbox.Observe(rec, newPod(ready), nil, 0, sandbox.DefaultPolicy, at(0))
	v.Route.WorkHosts["x"] = 1
	if _, there := rec.Route.WorkHosts["x"]; there {
		t.Error("the view shares the record's map")
	}
}
