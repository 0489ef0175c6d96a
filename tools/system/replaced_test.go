//go:build system

package system_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// TestCheck67StartOfAFailedOne: a start on a sandbox in error makes a fresh pod
// in its place, with its volume, and the old one goes.
func TestCheck67StartOfAFailedOne(t *testing.T) {
	t.Attr("conformance", "67 real node")
	r := newRealRig(t, "again", stack.Options{Gateways: 2, Settings: []string{noPurge, "EPHEMERAL_STORAGE_LIMIT=20Mi"}})
	evicted := end{over(corev1.PodFailed, "Evicted"), shows("error", "failed", "Evicted: ", "ephemeral")}
	for _, c := range []struct {
		name   string
		onTerm string // exit code
		fail   func(t *testing.T, rt client.Runtime)
		end    end
	}{
		{"crash loop", "0", r.crash, end{waits("CrashLoopBackOff"), shows("error", "crashloopbackoff", "exit code")}},
		{"evicted", "143", r.overflow, evicted},
		// The kubelet drops its own reason where the container's end was a good one:
		// the word Evicted is in an Event only. Where the container was gone before it
		// saw the end, it makes up a bad one (ContainerStatusUnknown) and keeps its reason.
		{"evicted and ended well", "0", r.overflow, oneOf(end{over(corev1.PodSucceeded, ""), shows("error", "failed", "Completed: exit code 0")}, evicted)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			session := strings.ReplaceAll(c.name, " ", "-")
			r.begin(t, session, asRoot, env("STUB_CRASH_FILE", "/workspace/crash", "STUB_EXIT_ON_TERM", c.onTerm))
			first := r.learns(t, session, isReady, serves)
			agent := client.NewAgent(r.http, first.URL, first.SessionAPIKey)
			if err := agent.Write(t.Context(), "/workspace", "notes.txt", "kept"); err != nil {
				t.Fatal(err)
			}
			old := r.onePod(t, first.RuntimeID)
			c.fail(t, first)
			r.learns(t, session, c.end.knows, c.end.shows)

			r.begin(t, session, asRoot)
			again := r.learns(t, session, func(p *corev1.Pod) bool { return p.UID != old.UID && isReady(p) }, serves)
			if again.RuntimeID != first.RuntimeID || again.URL != first.URL || again.SessionAPIKey != first.SessionAPIKey || again.RestartCount != 0 {
				t.Errorf("%+v became %+v", first, again)
			}
			if got, err := agent.Read(t.Context(), "/workspace", "notes.txt"); err != nil || got != "kept" {
				t.Errorf("its volume holds %q, %v", got, err)
			}
			r.waitHas(t, first.RuntimeID, "pod", "volume")
			if now := r.onePod(t, first.RuntimeID); now.UID == old.UID {
				t.Error("the old pod is there")
			}
			r.stopped(t, again)
		})
	}
	t.Run("evicted, stopped", func(t *testing.T) {
		t.Parallel()
		r.begin(t, "ends", asRoot, env("STUB_EXIT_ON_TERM", "143"))
		r.overflow(t, r.learns(t, "ends", isReady, serves))
		rt := r.learns(t, "ends", evicted.knows, evicted.shows)
		r.stopped(t, rt)
	})
}

// end is how a pod ended: what Kubernetes knows of it, and what clients are shown then.
type end struct {
	knows func(*corev1.Pod) bool
	shows func(client.Runtime) bool
}

// oneOf is for what Kubernetes ends in one of several ways, by a race of its own: what
// it came to is what must be shown.
func oneOf(ends ...end) end {
	var came atomic.Pointer[end]
	return end{
		knows: func(p *corev1.Pod) bool {
			for i := range ends {
				if ends[i].knows(p) {
					came.Store(&ends[i])
					return true
				}
			}
			return false
		},
		shows: func(rt client.Runtime) bool {
			e := came.Load()
			return e != nil && e.shows(rt)
		},
	}
}

// crash has a sandbox crash again and again, as long as its file is there.
func (r *rig) crash(t *testing.T, rt client.Runtime) {
	t.Helper()
	agent := client.NewAgent(r.http, rt.URL, rt.SessionAPIKey)
	if err := agent.Write(t.Context(), "/workspace", "crash", "now"); err != nil {
		t.Fatal(err)
	}
	r.endContainer(t, rt)
}

// overflow has the kubelet evict a sandbox, which writes more than it may.
func (r *rig) overflow(t *testing.T, rt client.Runtime) {
	t.Helper()
	agent := client.NewAgent(r.http, rt.URL, rt.SessionAPIKey)
	if err := agent.Write(t.Context(), "/", "large", strings.Repeat("x", 40<<20)); err != nil {
		t.Fatal(err)
	}
}

// TestFullNamespace: a start for which a quota has no room is refused and leaves
// nothing; a sandbox that lost its pod is shown with the words of the refusal,
// and runs once there is room; what is to be replaced is not in its own way.
func TestFullNamespace(t *testing.T) {
	r := newRealRig(t, "quota", stack.Options{Gateways: 2, Settings: []string{noPurge}})
	r.begin(t, "first", env("STUB_CRASH_FILE", "/workspace/crash"))
	first := r.learns(t, "first", isReady, serves)
	r.quota(t, 1)
	_, err := r.api(0).Start(t.Context(), body(t, "second"))
	if client.StatusOf(err) != http.StatusBadRequest || !strings.Contains(err.Error(), "exceeded quota") {
		t.Errorf("%v, want 400 and the quota's words", err)
	}
	waitEnded(t, r.api(1), "second")
	r.waitHas(t, "", "pod", "volume")

	pod := r.onePod(t, first.RuntimeID)
	r.crash(t, first)
	r.learns(t, "first", waits("CrashLoopBackOff"), shows("error", "crashloopbackoff"))
	r.begin(t, "first")
	r.learns(t, "first", func(p *corev1.Pod) bool { return p.UID != pod.UID && isReady(p) }, serves)

	r.quota(t, 0)
	r.losesPod(t, first, "exceeded quota")
	r.quota(t, 1)
	first = r.learns(t, "first", isReady, serves)

	r.quota(t, 0)
	first = r.losesPod(t, first, "exceeded quota")
	r.stopped(t, first)
}

// losesPod deletes the pod of a sandbox that cannot have another, and waits until
// clients are told why: toldWithin after the pod is gone at the latest. No watch
// shows when the quota refused; by then nothing else is in the way.
func (r *rig) losesPod(t *testing.T, rt client.Runtime, why string) client.Runtime {
	t.Helper()
	r.deletePod(t, rt)
	r.waitHas(t, rt.RuntimeID, "volume")
	gone := time.Now()
	rt = r.shown(t, rt.SessionID, shows("starting", "not found", why))
	late := time.Since(gone)
	if late > toldWithin {
		t.Errorf("%s was told %s after its pod was gone, want %s at most", rt.SessionID, late, toldWithin)
	}
	t.Logf("%s; told %s after its pod was gone", firstLine(rt.StatusDetail), late.Round(time.Millisecond))
	return rt
}

// quota allows so many pods in the sandboxes' namespace.
func (r *rig) quota(t *testing.T, pods int64) {
	t.Helper()
	api := bed.kube.CoreV1().ResourceQuotas(r.SandboxNamespace)
	q := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "pods"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: *resource.NewQuantity(pods, resource.DecimalSI)}},
	}
	_, err := api.Update(t.Context(), q, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		_, err = api.Create(t.Context(), q, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the quota is counted", func(ctx context.Context) (string, bool) {
		got, err := api.Get(ctx, q.Name, metav1.GetOptions{})
		if err != nil {
			return err.Error(), false
		}
		hard := got.Status.Hard[corev1.ResourcePods]
		return got.String(), len(got.Status.Used) > 0 && hard.Value() == pods
	})
}

func (r *rig) deletePod(t *testing.T, rt client.Runtime) {
	t.Helper()
	pod := r.onePod(t, rt.RuntimeID)
	if err := bed.kube.CoreV1().Pods(r.SandboxNamespace).Delete(t.Context(), pod.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// TestPodIsTakenAway: by hand, and by the Eviction API as a drain does it. It is
// told, another takes its place, and what its volume holds is there. A start
// meanwhile is answered, and makes no second one.
func TestPodIsTakenAway(t *testing.T) {
	r := newRealRig(t, "taken", stack.Options{Gateways: 2, Settings: []string{noPurge}})
	for _, c := range []struct {
		name  string
		take  func(*testing.T, client.Runtime)
		words string
	}{
		{"by-hand", r.deletePod, "the pod is being deleted"},
		{"by-eviction", r.evict, "EvictionByEvictionAPI: Eviction API: evicting"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r.begin(t, c.name)
			rt := r.learns(t, c.name, isReady, serves)
			agent := client.NewAgent(r.http, rt.URL, rt.SessionAPIKey)
			if err := agent.Write(t.Context(), "/workspace", "notes.txt", "kept"); err != nil {
				t.Fatal(err)
			}
			old := r.onePod(t, rt.RuntimeID)
			release := r.hold(t, old) // it does not end before the other is there
			c.take(t, rt)
			r.learns(t, c.name, isEnding, shows("starting", "not found", c.words))
			again := r.begin(t, c.name)
			if again.RuntimeID != rt.RuntimeID || again.Status != "starting" {
				t.Errorf("%+v", again)
			}
			rt = r.learns(t, c.name, func(p *corev1.Pod) bool { return p.UID != old.UID && isReady(p) }, serves)
			if got, err := agent.Read(t.Context(), "/workspace", "notes.txt"); err != nil || got != "kept" {
				t.Errorf("its volume holds %q, %v", got, err)
			}
			r.waitHas(t, rt.RuntimeID, "pod", "pod", "volume")
			release()
			r.waitHas(t, rt.RuntimeID, "pod", "volume")
			r.stopped(t, rt)
		})
	}
}

// hold keeps a pod from going when its containers have ended, as a lost node
// does.
func (r *rig) hold(t *testing.T, p corev1.Pod) (release func()) {
	t.Helper()
	patch := func(ctx context.Context, finalizers string) error {
		_, err := bed.kube.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.MergePatchType,
			[]byte(`{"metadata":{"finalizers":`+finalizers+`}}`), metav1.PatchOptions{})
		return err
	}
	if err := patch(t.Context(), `["sandbar.io/held-by-a-test"]`); err != nil {
		t.Fatal(err)
	}
	release = sync.OnceFunc(func() {
		if err := patch(context.WithoutCancel(t.Context()), "null"); err != nil {
			t.Errorf("pod %s stays: %v", p.Name, err)
		}
	})
	t.Cleanup(release)
	return release
}

func (r *rig) evict(t *testing.T, rt client.Runtime) {
	t.Helper()
	pod := r.onePod(t, rt.RuntimeID)
	err := bed.kube.CoreV1().Pods(r.SandboxNamespace).EvictV1(t.Context(), &policyv1.Eviction{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestCannotBeMade: a container that its policy does not let run, and a volume
// that nobody provides, until somebody does.
func TestCannotBeMade(t *testing.T) {
	r := newRealRig(t, "unmade", stack.Options{Gateways: 2, Settings: []string{noPurge, "ALLOW_ROOT=false"}})
	root := r.pushStub(t, "rootstub", "0:0")
	r.begin(t, "root", imageOf(root), func(b map[string]any) { delete(b, "run_as_user"); delete(b, "run_as_group"); delete(b, "fs_group") })
	rt := r.learns(t, "root", waits("CreateContainerConfigError"), shows("starting", "pending", "CreateContainerConfigError", "runAsNonRoot"))
	r.stopped(t, rt)

	class := "class-" + nonce()
	r.again(t, "provisioner-0", "STORAGE_CLASS="+class)
	r.begin(t, "volume")
	r.learns(t, "volume", isUnschedulable, shows("starting", "pending", "unbound"))
	like, err := bed.kube.StorageV1().StorageClasses().Get(t.Context(), "sandbar-local", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = bed.kube.StorageV1().StorageClasses().Create(t.Context(), &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: class}, Provisioner: like.Provisioner, VolumeBindingMode: like.VolumeBindingMode, ReclaimPolicy: like.ReclaimPolicy,
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = bed.kube.StorageV1().StorageClasses().Delete(context.WithoutCancel(t.Context()), class, metav1.DeleteOptions{})
	})
	rt = r.learns(t, "volume", isReady, serves)
	r.stopped(t, rt)
}
