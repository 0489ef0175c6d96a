package sandbox_test

import (
	"testing"
	"time"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

func reach(r sandbox.Reach) func(*sandbox.Pod) {
	return func(p *sandbox.Pod) { ready(p); p.Reach = r }
}

func verified(v *sandbox.View) { v.RouteCheck = sandbox.RouteVerified }

func fails(detail string) func(*sandbox.View) {
	return func(v *sandbox.View) { v.RouteCheck, v.StatusDetail = sandbox.RouteFails, detail }
}

func says(detail string) func(*sandbox.View) {
	return func(v *sandbox.View) { v.StatusDetail = detail }
}

func other(incarnation int64) func(*sandbox.View) {
	return func(v *sandbox.View) { v.Incarnation = incarnation }
}

func TestObserveVerifiesTheRoute(t *testing.T) {
	t.Parallel()
	type want struct {
		status sandbox.Status
		pod    sandbox.PodStatus
		detail string
		check  sandbox.RouteCheck
	}
	serves := want{status: "running", pod: "ready", check: "verified"}
	unknown := want{status: "starting", pod: "running", check: "unknown"}
	waits := func(detail string) want {
		return want{status: "starting", pod: "running", detail: detail, check: "fails"}
	}
	lost := func(p *sandbox.Pod) { ready(p); p.Ready = false }
	for name, c := range map[string]struct {
		pod  *sandbox.Pod
		prev *sandbox.View
		want want
	}{
		"nobody looked, no view":    {newPod(ready), nil, unknown},
		"nobody looked, a view":     {newPod(ready), seen("starting", "running"), unknown},
		"nobody looked this time":   {newPod(ready), seen("starting", "running", fails("runtime_ingress:timeout")), waits("runtime_ingress:timeout")},
		"the pod just became ready": {newPod(ready), seen("starting", "pending", says("0/3 nodes")), unknown},
		"it answers":                {newPod(reach(sandbox.Reached)), seen("starting", "running", fails("runtime_ingress:timeout")), serves},
		"it answers, no view":       {newPod(reach(sandbox.Reached)), nil, serves},
		"no address":                {newPod(reach(sandbox.ReachDNS)), seen("starting", "running"), waits("runtime_ingress:dns_error")},
		"another trouble than before": {
			newPod(reach(sandbox.ReachOfStatus(404))), seen("starting", "running", fails("runtime_ingress:connection_error")), waits("runtime_ingress:http_status:404"),
		},
		"verified before":             {newPod(ready), seen("starting", "running", verified), serves},
		"verified before, fails now":  {newPod(reach(sandbox.ReachTimeout)), seen("running", "ready", verified), serves},
		"ran before there was a word": {newPod(ready), servedBefore, serves},
		"another pod of its name":     {newPod(), seen("running", "ready", verified), want{status: "starting", pod: "pending"}},
		"of another incarnation":      {newPod(ready), seen("running", "ready", verified, other(7)), unknown},
		"an unready pod that answers": {newPod(unready, func(p *sandbox.Pod) { p.ContainersReady, p.Reach = false, sandbox.Reached }), seen("starting", "pending"), want{status: "starting", pod: "running"}},
		"a blip keeps it verified": {
			newPod(unready), seen("running", "ready", verified), want{status: "running", pod: "running", check: "verified"},
		},
		"unready too long keeps it verified": {
			newPod(unready), seen("running", "running", verified, func(v *sandbox.View) { v.UnreadySince = born.Add(-time.Hour) }),
			want{status: "starting", pod: "running", detail: "the readiness probe fails", check: "verified"},
		},
		"a crash keeps it verified": {
			newPod(waiting("CrashLoopBackOff", "back-off")), seen("running", "ready", verified),
			want{status: "error", pod: "crashloopbackoff", detail: "CrashLoopBackOff: back-off", check: "verified"},
		},
		"node lost":                   {newPod(lost), seen("running", "ready", verified), serves},
		"node lost before it served":  {newPod(lost), seen("starting", "running", fails("runtime_ingress:tls_error")), want{status: "starting", pod: "running", detail: "runtime_ingress:tls_error"}},
		"no pod: the next one is new": {nil, seen("running", "ready", verified), want{status: "starting", pod: "not found"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			policy := sandbox.DefaultPolicy
			policy.VerifyRoute = true
			v, _ := sandbox.Observe(newRecord(), c.pod, c.prev, 100, policy, at(10*time.Second))
			if got := (want{v.Status, v.PodStatus, v.StatusDetail, v.RouteCheck}); got != c.want {
				t.Errorf("\n got %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestObserveVerifiesNothingByItself(t *testing.T) {
	t.Parallel()
	v, _ := sandbox.Observe(newRecord(), newPod(reach(sandbox.ReachDNS)), nil, 100, sandbox.DefaultPolicy, at(0))
	if v.Status != sandbox.StatusRunning || v.PodStatus != sandbox.PodReady || v.RouteCheck != "" {
		t.Errorf("%+v, want it running and nothing said of its route", v)
	}
}

func TestAPausedSandboxHasNoVerifiedRoute(t *testing.T) {
	t.Parallel()
	policy := sandbox.DefaultPolicy
	policy.VerifyRoute = true
	v, _ := sandbox.Observe(newRecord(desired(sandbox.Paused)), newPod(ready), seen("running", "ready", verified), 100, policy, at(0))
	if v.RouteCheck != "" {
		t.Error("the next pod's route would count as verified")
	}
}

func TestTrust(t *testing.T) {
	t.Parallel()
	policy := sandbox.DefaultPolicy
	policy.VerifyRoute = true
	for name, c := range map[string]struct {
		pod    *sandbox.Pod
		status sandbox.Status
	}{
		"nothing is known":   {newPod(ready), sandbox.StatusRunning},
		"known to answer":    {newPod(reach(sandbox.Reached)), sandbox.StatusRunning},
		"known to fail":      {newPod(reach(sandbox.ReachTimeout)), sandbox.StatusStarting},
		"the pod is unready": {newPod(running(born)), sandbox.StatusStarting},
		"the pod has failed": {newPod(phase("Failed", "Evicted", "")), sandbox.StatusError},
	} {
		v, _ := sandbox.Observe(newRecord(), c.pod, nil, 100, policy, at(0))
		sandbox.Trust(&v)
		if v.Status != c.status || (v.RouteCheck == sandbox.RouteVerified) != (c.status == sandbox.StatusRunning) || v.Served != (c.status == sandbox.StatusRunning) {
			t.Errorf("%s: %+v, want it %s", name, v, c.status)
		}
	}
}

func TestReachOfStatus(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]sandbox.Reach{
		200: "ok", 204: "ok", 299: "ok", 101: "unexpected_status", 301: "unexpected_status", 399: "unexpected_status",
		400: "http_status:400", 404: "http_status:404", 503: "http_status:503", 599: "http_status:599", 600: "unexpected_status", 0: "unexpected_status",
	} {
		if got := sandbox.ReachOfStatus(code); got != want {
			t.Errorf("%d: %s, want %s", code, got, want)
		}
	}
}

// What readers could not tell apart a later Observe can: it would look again.
func TestAVerifiedRouteIsWritten(t *testing.T) {
	t.Parallel()
	a, b := seen("running", "ready"), seen("running", "ready", verified)
	if sandbox.SameForReaders(a, b) {
		t.Error("a view with a verified route would not be written over one without")
	}
}
