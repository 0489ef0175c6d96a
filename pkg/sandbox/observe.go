package sandbox

import (
	"fmt"
	"strings"
	"time"
)

// Policy is how patient Observe is.
type Policy struct {
	// ReadinessGrace is how long a sandbox that served is still called running
	// after its readiness probe fails. A sandbox's callbacks to the app are
	// only accepted while the app is told that it runs.
	ReadinessGrace time.Duration
	// StartGrace is how long an image that cannot be pulled, or a container
	// that cannot be made, is called starting before it is called failed. It
	// begins when there is a node, and again when a container has ended.
	StartGrace time.Duration
	// VerifyRoute is true where a controller of the cluster leads to sandboxes: a
	// pod that is ready is called so only after its public URL has answered.
	VerifyRoute bool
}

// DefaultPolicy is used where nothing is configured.
var DefaultPolicy = Policy{ReadinessGrace: 30 * time.Second, StartGrace: 5 * time.Minute}

// steadyAfter is how long a container that crashed before must run, unready,
// until it is called starting again. Kubelet's first backoff is 10 s: a shorter
// time would make a crash loop flap between error and starting.
const steadyAfter = 15 * time.Second

// Observe makes the view of a record and the pod of its incarnation (nil: there
// is none), given the previous view (nil: none) and the time. order is the
// resourceVersion of the list that showed that there is no pod, 0 where it was not
// listed. It returns when to look again although nothing changed; the zero time means
// never.
func Observe(r *Record, p *Pod, prev *View, order uint64, pol Policy, now time.Time) (View, time.Time) {
	v := View{
		Record: r.Name, RecordUID: r.UID, Tenant: r.Tenant, SessionID: r.SessionID, RuntimeID: r.RuntimeID,
		Generation: r.Generation, Incarnation: r.Incarnation, Order: order, LastCommand: r.LastCommand,
		Route: r.Route.Clone(), SessionKey: r.SessionKey, Image: r.Spec.Image, CreatedAt: r.CreatedAt,
	}
	if v.Route.WorkHosts == nil {
		v.Route.WorkHosts = map[string]int{}
	}
	if p != nil && (p.RuntimeID != r.RuntimeID || p.Incarnation != r.Incarnation) {
		p = nil
	}
	switch {
	case r.Desired != Running:
		v.Order = r.Order()
	case p != nil:
		v.Order = p.Order
	}
	switch r.Desired {
	case Paused:
		v.Status, v.PodStatus, v.StatusDetail = StatusPaused, PodNotFound, cut(r.Reason)
		return v, time.Time{}
	case Stopped:
		v.Status, v.PodStatus, v.StatusDetail = StatusStopped, PodNotFound, cut(r.Reason)
		v.SessionKey = ""
		return v, time.Time{}
	case Running:
	}
	begun, _ := r.Beginning()
	v.Served = prev != nil && prev.RuntimeID == r.RuntimeID && prev.Generation >= begun && prev.Served
	if prev != nil && (prev.RuntimeID != r.RuntimeID || prev.Incarnation != r.Incarnation) {
		prev = nil
	}
	if p == nil || p.Terminating { // a pod that is being deleted is not there
		v.Status, v.PodStatus, v.StatusDetail = StatusStarting, PodNotFound, cut(absence(p, prev))
		return v, time.Time{}
	}
	if pol.VerifyRoute && prev != nil && (prev.RouteCheck == RouteVerified || prev.Status == StatusRunning) {
		v.RouteCheck = RouteVerified
	}
	v.RestartCount = p.Container.RestartCount
	v.RestartReasons = restartReasons(p)
	again := phase(&v, p, prev, pol, now)
	v.StatusDetail = cut(v.StatusDetail)
	v.Served = v.Served || v.Status == StatusRunning
	if v.Status != StatusError {
		v.Address = p.IP
		return v, again
	}
	v.PodLogs = p.Logs
	if v.PodLogs == "" && prev != nil { // not every writer reads them
		v.PodLogs = prev.PodLogs
	}
	return v, again
}

// absence is why a sandbox that is to run has no pod, as far as that is known:
// what takes it away, or what was said before it was gone.
func absence(p *Pod, prev *View) string {
	switch {
	case p != nil && p.DisruptionReason != "":
		return detail(p.DisruptionReason, p.DisruptionMessage)
	case p != nil:
		return podEnds
	case prev != nil && prev.Status == StatusStarting && prev.PodStatus == PodNotFound:
		return prev.StatusDetail
	}
	return ""
}

// podEnds is the detail of a pod that somebody deleted without a word.
const podEnds = "the pod is being deleted"

// Failed reports whether readers are told that the pod has failed, so that a
// start or resume replaces it.
func Failed(r *Record, p *Pod, pol Policy, now time.Time) bool {
	if r == nil || p == nil || r.Desired != Running {
		return false
	}
	v, _ := Observe(r, p, nil, 0, pol, now)
	return v.Status == StatusError
}

// Ending reports whether the pod that has the name of the record's is not its
// pod for long: it is being deleted, or the collector takes it, which another
// record of the same sandbox has left.
func Ending(r *Record, p *Pod) bool {
	return r != nil && p != nil && (p.Terminating || p.RecordUID != r.UID)
}

// phase fills in status, pod status and detail of a pod that exists.
func phase(v *View, p *Pod, prev *View, pol Policy, now time.Time) time.Time {
	c := &p.Container
	switch {
	case p.Phase == "Failed", p.Phase == "Succeeded":
		v.Status, v.PodStatus = StatusError, PodFailed
		v.StatusDetail = detail(p.Reason, p.Message)
		if v.StatusDetail == "" { // the kubelet gives no reason for what ended well, evicted or not
			v.StatusDetail = detail(p.DisruptionReason, p.DisruptionMessage)
		}
		if t := c.Terminated; v.StatusDetail == "" && t != nil {
			v.StatusDetail = exitDetail(t)
		}
		return time.Time{}
	case p.Ready, nodeLost(p):
		if prev != nil && !p.Ready {
			v.Status, v.PodStatus, v.StatusDetail = prev.Status, prev.PodStatus, prev.StatusDetail
			v.UnreadySince = prev.UnreadySince
			return time.Time{}
		}
		v.Status, v.PodStatus = StatusRunning, PodReady
		if pol.VerifyRoute {
			verifyRoute(v, p, prev)
		}
		return time.Time{}
	case crashed(p, now):
		v.Status, v.PodStatus = StatusError, PodCrashLoop
		v.StatusDetail = crashDetail(p)
		if c.Running {
			return c.StartedAt.Add(steadyAfter)
		}
		return time.Time{}
	case c.Running, c.Terminated != nil:
		return unready(v, p, prev, pol, now)
	case c.WaitingReason != "" && c.WaitingReason != "ContainerCreating" && c.WaitingReason != "PodInitializing":
		return cannotStart(v, p, pol, now)
	}
	// Nothing runs in it yet: what was verified was another pod of its name.
	v.Status, v.PodStatus, v.RouteCheck = StatusStarting, PodPending, ""
	if !p.Scheduled {
		v.StatusDetail = detail(p.ScheduledReason, p.ScheduledMessage)
	}
	return time.Time{}
}

// probeFails is the detail of a sandbox that served and does not any more.
const probeFails = "the readiness probe fails"

// unready is a container that runs, or is about to be restarted, and does not
// serve.
func unready(v *View, p *Pod, prev *View, pol Policy, now time.Time) time.Time {
	v.Status, v.PodStatus = StatusStarting, PodRunning
	if t := p.Container.LastTerminated; t != nil {
		v.StatusDetail = exitDetail(t)
	}
	if t := p.Container.Terminated; t != nil {
		v.StatusDetail = exitDetail(t)
	}
	if prev == nil || !p.Container.Running {
		return time.Time{}
	}
	if prev.Status != StatusRunning {
		if prev.StatusDetail == probeFails {
			v.StatusDetail = probeFails
		}
		return time.Time{}
	}
	v.UnreadySince = prev.UnreadySince
	if v.UnreadySince.IsZero() {
		v.UnreadySince = now
	}
	if until := v.UnreadySince.Add(pol.ReadinessGrace); now.Before(until) {
		v.Status = StatusRunning
		return until
	}
	v.UnreadySince = time.Time{}
	v.StatusDetail = probeFails
	return time.Time{}
}

// cannotStart is a container that waits for what may still come: an image, a
// secret key. After a while it is called failed; nothing is done about it, so
// it recovers when the cause goes.
func cannotStart(v *View, p *Pod, pol Policy, now time.Time) time.Time {
	v.StatusDetail = detail(p.Container.WaitingReason, p.Container.WaitingMessage)
	since := p.CreatedAt
	if p.ScheduledAt.After(since) {
		since = p.ScheduledAt
	}
	if t := p.Container.LastTerminated; t != nil && t.FinishedAt.After(since) {
		since = t.FinishedAt
	}
	until := since.Add(pol.StartGrace)
	if now.Before(until) && p.Container.WaitingReason != "InvalidImageName" {
		v.Status, v.PodStatus = StatusStarting, PodPending
		return until
	}
	v.Status, v.PodStatus = StatusError, PodFailed
	return time.Time{}
}

// nodeLost: the node controller sets Ready to false and leaves the containers'
// own word as it was. It cannot tell how the sandbox is, so the last status
// stays.
func nodeLost(p *Pod) bool { return !p.Ready && p.ContainersReady && p.Container.Running }

func crashed(p *Pod, now time.Time) bool {
	c := &p.Container
	if c.WaitingReason == "CrashLoopBackOff" {
		return true
	}
	last := c.LastTerminated
	if c.Terminated != nil {
		last = c.Terminated
	}
	if last == nil {
		return false
	}
	if c.WaitingReason != "" { // a command that cannot be run alternates with CrashLoopBackOff
		return c.WaitingReason == "RunContainerError" && c.RestartCount > 0
	}
	if c.Running && (c.Started || !now.Before(c.StartedAt.Add(steadyAfter))) {
		return false
	}
	return last.Reason == "OOMKilled" || c.RestartCount >= 2
}

func crashDetail(p *Pod) string {
	c := &p.Container
	for _, t := range []*Termination{c.Terminated, c.LastTerminated} {
		if t != nil {
			return "CrashLoopBackOff: " + exitDetail(t)
		}
	}
	return detail("CrashLoopBackOff", c.WaitingMessage)
}

func exitDetail(t *Termination) string {
	s := fmt.Sprintf("%s: exit code %d", t.Reason, t.ExitCode)
	if t.Message != "" {
		s += ": " + t.Message
	}
	return s
}

func restartReasons(p *Pod) []string {
	var out []string
	for _, t := range []*Termination{p.Container.LastTerminated, p.Container.Terminated} {
		if t != nil && t.Reason != "" {
			out = append(out, t.Reason)
		}
	}
	return out
}

// maxDetail keeps a view small; the words of scheduler and kubelet that clients
// look for come first.
const maxDetail = 2048

// detail passes the words of scheduler and kubelet on, unchanged.
func detail(reason, message string) string {
	s := message
	switch {
	case message == "":
		s = reason
	case reason != "" && !strings.HasPrefix(message, reason):
		s = reason + ": " + message
	}
	return s
}

func cut(s string) string { return cutTo(s, maxDetail) }

// cutTo is the first bytes of s, at most n, of whole characters.
func cutTo(s string, n int) string {
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "")
	}
	return s
}
