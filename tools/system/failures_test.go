//go:build system

package system_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/devcluster/image"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// Failures that a kubelet or a scheduler tells of, made on the real node: words
// for clients in time, recovery when the cause goes, a stop that works in each.

// TestCheck36ImageCannotBePulled: first it waits, with the kubelet's words; the
// image comes, and it runs. Where it never comes, the grace ends.
func TestCheck36ImageCannotBePulled(t *testing.T) {
	t.Attr("conformance", "36 real node")
	r := newRealRig(t, "pull", stack.Options{Gateways: 2, Settings: []string{noPurge, "START_GRACE=45s"}}) // a kubelet that has to wait for a core tells of its second try after 20 s
	t.Run("no such tag, until it is pushed", func(t *testing.T) {
		t.Parallel()
		reference := bed.Registry + "/late:" + nonce()
		r.begin(t, "late", pulled(reference))
		rt := r.learns(t, "late", waits("ErrImagePull"), shows("starting", "pending", "ErrImagePull", reference))
		if rt.RestartCount != 0 || rt.PodLogs != "" {
			t.Errorf("%+v", rt)
		}
		r.learns(t, "late", waits("ImagePullBackOff"), shows("starting", "pending", "ImagePullBackOff"))
		r.pushStub(t, strings.TrimPrefix(reference, bed.Registry+"/"), "")
		rt = r.learns(t, "late", isReady, serves)
		if rt.StatusDetail != "" {
			t.Errorf("it runs, with the detail %q", rt.StatusDetail)
		}
		r.stopped(t, rt)
	})
	t.Run("a registry that is not there", func(t *testing.T) {
		t.Parallel()
		// A port of this machine that nobody listens on.
		r.begin(t, "nowhere", pulled(strings.Split(bed.Registry, ":")[0]+":1/agent:1"))
		r.learns(t, "nowhere", waits("ImagePullBackOff"), shows("starting", "pending", "ImagePullBackOff"))
		rt := r.shown(t, "nowhere", shows("error", "failed", "ImagePull"))
		r.stopped(t, rt)
	})
	t.Run("a name that is none", func(t *testing.T) {
		t.Parallel()
		r.begin(t, "name", pulled(bed.Registry+"/agent:a:b"))
		rt := r.learns(t, "name", waits("InvalidImageName"), shows("error", "failed", "InvalidImageName"))
		r.stopped(t, rt)
	})
	t.Run("never pulled", func(t *testing.T) {
		t.Parallel()
		r.begin(t, "never", func(b map[string]any) {
			b["image"], b["image_pull_policy"] = bed.Registry+"/never:"+nonce(), "Never"
		})
		rt := r.learns(t, "never", waits("ErrImageNeverPull"), shows("starting", "pending", "ErrImageNeverPull"))
		r.stopped(t, rt)
	})
}

// pulled is an image that the node must ask its registry for.
func pulled(reference string) func(map[string]any) {
	return func(b map[string]any) { b["image"], b["image_pull_policy"] = reference, "Always" }
}

// pushStub pushes the stub under another name, and for another user.
func (r *rig) pushStub(t *testing.T, name, user string) string {
	t.Helper()
	reference, err := image.Push(t.Context(), bed.Registry, image.Spec{
		Name: name, Root: filepath.Join(bed.root, ".sandbar", "agentstub"), Entrypoint: []string{"/agentstub"}, User: user,
	})
	if err != nil {
		t.Fatal(err)
	}
	return reference
}

// TestCheck37NoCapacity: the scheduler's words, until there is room.
func TestCheck37NoCapacity(t *testing.T) {
	t.Attr("conformance", "37 real node")
	r := newRealRig(t, "room", stack.Options{Gateways: 2, Settings: []string{noPurge}})
	hog := r.fillNode(t)
	r.begin(t, "waits")
	rt := r.learns(t, "waits", isUnschedulable, shows("starting", "pending", "Unschedulable: ", "Insufficient cpu"))
	r.begin(t, "gives-up", factor(2))
	other := r.learns(t, "gives-up", isUnschedulable, shows("starting", "pending", "Insufficient cpu"))
	r.stopped(t, other)
	if err := bed.kube.CoreV1().Pods(r.SandboxNamespace).Delete(t.Context(), hog, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	r.learns(t, "waits", isReady, serves)
	r.stopped(t, rt)

	// Larger than the node itself.
	r.begin(t, "large", factor(64))
	large := r.learns(t, "large", isUnschedulable, shows("starting", "pending", "Insufficient cpu"))
	r.stopped(t, large)

	// No node is the right one, until one is.
	label := "sandbar.io/test-" + nonce()
	r.again(t, "provisioner-0", "NODE_SELECTOR="+label+"=yes")
	r.begin(t, "selector")
	r.learns(t, "selector", isUnschedulable, shows("starting", "pending", "node affinity/selector"))
	labelNode(t, bed.RealNodes[0], label, "yes")
	rt = r.learns(t, "selector", isReady, serves)
	r.stopped(t, rt)
}

// fillNode takes all of the real node's free CPU but a little, which is less
// than a sandbox asks for.
func (r *rig) fillNode(t *testing.T) (pod string) {
	t.Helper()
	node, err := bed.kube.CoreV1().Nodes().Get(t.Context(), bed.RealNodes[0], metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pods, err := bed.kube.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{FieldSelector: "spec.nodeName=" + node.Name})
	if err != nil {
		t.Fatal(err)
	}
	free := node.Status.Allocatable.Cpu().MilliValue()
	for _, p := range pods.Items {
		for _, c := range p.Spec.Containers {
			free -= c.Resources.Requests.Cpu().MilliValue()
		}
	}
	const left = 20 // a sandbox asks for 50
	hog := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "hog"},
		Spec: corev1.PodSpec{
			NodeName: node.Name, Containers: []corev1.Container{{
				Name: "hog", Image: bed.image,
				Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
					corev1.ResourceCPU: *resource.NewMilliQuantity(free-left, resource.DecimalSI),
				}},
			}},
		},
	}
	hog, err = bed.kube.CoreV1().Pods(r.SandboxNamespace).Create(t.Context(), hog, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return hog.Name
}

// TestCheck38CrashLoopAndOOM: how it ended, how often, and its last words.
func TestCheck38CrashLoopAndOOM(t *testing.T) {
	t.Attr("conformance", "38 real node")
	r := newRealRig(t, "crash", stack.Options{Gateways: 2, Settings: []string{noPurge}})
	t.Run("crash loop, until its cause goes", func(t *testing.T) {
		t.Parallel()
		first := r.begin(t, "loop", env("STUB_CRASH_FILE", "/workspace/crash", "STUB_EXIT_CODE", "7"))
		rt := r.learns(t, "loop", isReady, serves)
		agent := client.NewAgent(r.http, rt.URL, rt.SessionAPIKey)
		if err := agent.Write(t.Context(), "/workspace", "crash", "now"); err != nil {
			t.Fatal(err)
		}
		r.endContainer(t, rt)
		rt = r.learns(t, "loop", waits("CrashLoopBackOff"), shows("error", "crashloopbackoff", "CrashLoopBackOff", "exit code 7"))
		rt = r.withLogs(t, "loop")
		if rt.RestartCount < 1 || len(rt.RestartReasons) == 0 || !strings.Contains(rt.PodLogs, "crashing, as told") || len(rt.PodLogs) > 8<<10 {
			t.Errorf("%+v", rt)
		}
		// A start replaces it, with its volume: it ends again, as the file is there.
		again := r.begin(t, "loop", env("STUB_CRASH_FILE", "/workspace/none"))
		if again.RuntimeID != first.RuntimeID || again.URL != first.URL {
			t.Errorf("%+v became %+v", first, again)
		}
		rt = r.learns(t, "loop", isReady, serves)
		if rt.RestartCount != 0 || rt.PodLogs != "" || rt.StatusDetail != "" {
			t.Errorf("it runs: %+v", rt)
		}
		r.stopped(t, rt)
	})
	t.Run("crash loop, stopped", func(t *testing.T) {
		t.Parallel()
		r.begin(t, "ends", env("STUB_CRASH_AFTER_MS", "1", "STUB_EXIT_CODE", "3"))
		rt := r.learns(t, "ends", waits("CrashLoopBackOff"), shows("error", "crashloopbackoff", "exit code 3"))
		r.stopped(t, rt)
	})
	t.Run("a command that cannot be run", func(t *testing.T) {
		t.Parallel()
		r.begin(t, "nope", func(b map[string]any) { b["command"] = []string{"/nope"} })
		rt := r.learns(t, "nope", waits("CrashLoopBackOff"), shows("error", "crashloopbackoff", "/nope"))
		r.stopped(t, rt)
	})
	t.Run("OOM", func(t *testing.T) {
		t.Parallel()
		r.begin(t, "oom", env("STUB_EAT_MEMORY_MB", "400"))
		rt := r.learns(t, "oom", ended("OOMKilled"), shows("error", "crashloopbackoff", "OOMKilled"))
		if !strings.Contains(strings.Join(rt.RestartReasons, " "), "OOMKilled") {
			t.Errorf("%+v", rt)
		}
		// With more memory it runs.
		r.begin(t, "oom", env("STUB_EAT_MEMORY_MB", "400"), factor(3))
		rt = r.learns(t, "oom", isReady, serves)
		r.stopped(t, rt)
	})
	t.Run("OOM, stopped", func(t *testing.T) {
		t.Parallel()
		r.begin(t, "oom-ends", env("STUB_EAT_MEMORY_MB", "400"))
		rt := r.learns(t, "oom-ends", ended("OOMKilled"), shows("error", "crashloopbackoff", "OOMKilled"))
		r.stopped(t, rt)
	})
}

// endContainer has the stub of a sandbox end by itself. It may be gone before its
// answer is there.
func (r *rig) endContainer(t *testing.T, rt client.Runtime) {
	t.Helper()
	agent := client.NewAgent(r.http, rt.URL, rt.SessionAPIKey)
	answer, err := agent.Do(t.Context(), client.Request{Method: http.MethodPost, Path: "/crash"})
	if err == nil && answer.Status >= http.StatusMultipleChoices && answer.Status != http.StatusBadGateway {
		t.Fatal(answer)
	}
}

func ended(reason string) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool {
		for _, c := range p.Status.ContainerStatuses {
			for _, s := range []corev1.ContainerState{c.State, c.LastTerminationState} {
				if s.Terminated != nil && s.Terminated.Reason == reason {
					return true
				}
			}
		}
		return false
	}
}

// withLogs waits until a sandbox that failed shows its log.
func (r *rig) withLogs(t *testing.T, session string) (rt client.Runtime) {
	t.Helper()
	return r.shown(t, session, func(rt client.Runtime) bool { return rt.PodLogs != "" })
}
