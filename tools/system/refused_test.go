//go:build system

package system_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sandbar-io/sandbar/pkg/contract"
	"github.com/sandbar-io/sandbar/tools/conformance/client"
	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// TestKubernetesRefuses: what an administrator forbids is refused at once, in the
// administrator's words; nothing of it remains, and nobody tries again. Sandboxes
// that run go on, and one that loses its pod meanwhile is shown with those words.
func TestKubernetesRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t, "refused", stack.Options{Gateways: 2, Settings: []string{noPurge}})
	js := r.bus(t, "provisioner")
	lives := r.running(t, "lives")
	const words = "images must be signed"
	allow := r.forbid(t, words)
	r.isRefused(t, "second", words)
	r.waitDrained(t, js)
	r.waitHas(t, "", "pod", "volume") // of the one that lives

	r.losesPod(t, lives, words)
	allow()
	if got := waitStatus(t, r.api(1), "lives", "running"); got.RuntimeID != lives.RuntimeID {
		t.Errorf("it came back as %s, want %s", got.RuntimeID, lives.RuntimeID)
	}
	r.running(t, "second")
}

// TestTheNamespaceEnds: while Kubernetes deletes the namespace of the sandboxes a
// start is refused at once. What was in it is gone for clients too; and once the
// namespace is made again, all that runs works in it without a restart.
func TestTheNamespaceEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t, "ending", stack.Options{Gateways: 2, Watchers: 2, Settings: []string{noPurge}})
	js := r.bus(t, "provisioner")
	lost := r.running(t, "lost")
	release := r.keepRights(t)
	namespaces := bed.kube.CoreV1().Namespaces()
	if err := namespaces.Delete(t.Context(), r.SandboxNamespace, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	r.isRefused(t, "late", "is being deleted")
	r.waitDrained(t, js)
	for _, api := range r.apis() {
		waitFor(t, "what was in the namespace is gone", func(ctx context.Context) (string, bool) {
			rt, err := api.Session(ctx, lost.SessionID)
			if client.StatusOf(err) == http.StatusNotFound {
				return "", true
			}
			return rt.Status + " " + errorText(err), false
		})
	}
	release()
	waitFor(t, "the namespace is gone", func(ctx context.Context) (string, bool) {
		ns, err := namespaces.Get(ctx, r.SandboxNamespace, metav1.GetOptions{})
		if err == nil {
			return ns.String(), false
		}
		return err.Error(), apierrors.IsNotFound(err)
	})
	if err := r.GiveRights(t.Context(), bed.kube); err != nil {
		t.Fatal(err)
	}
	var again client.Runtime
	waitFor(t, "starts are accepted", func(ctx context.Context) (string, bool) {
		var err error
		again, err = r.api(1).Start(ctx, body(t, "lost"))
		return errorText(err), err == nil
	})
	if again.RuntimeID == lost.RuntimeID {
		t.Errorf("%s came back", lost.RuntimeID)
	}
	waitStatus(t, r.api(0), "lost", "running")
	if dead := append(append(r.dead("provisioner"), r.dead("watcher")...), r.dead("gateway")...); len(dead) > 0 {
		t.Errorf("%q ended", dead)
	}
}

// TestARightThatStaysAway: a start for which the provisioner lacks a right is given up,
// and what it left is tried again now and then, not in a loop. Once the right is there the
// sandbox comes, in the same process.
func TestARightThatStaysAway(t *testing.T) {
	t.Parallel()
	r := newRig(t, "no-right", stack.Options{Settings: []string{noPurge}})
	js := r.bus(t, "provisioner")
	pid := r.pid(t, "provisioner-0")
	x := right{"provisioner", "create", "pods"}
	giveBack := r.without(t, "provisioner", x)
	answer, err := r.api(0).Do(t.Context(), client.Request{Method: http.MethodPost, Path: "/start", Body: body(t, "waits")})
	if err != nil {
		t.Fatal(err)
	}
	// The last attempt begins 7.5 s after the first, and a start has 8 s. Where it comes too
	// late the answer is what is known by then: there is a record.
	if answer.OK() {
		err = wantStarting(answer)
	} else if err = answer.Problem(http.StatusGatewayTimeout); err == nil && !strings.Contains(string(answer.Body), "was given up") {
		err = errors.New("it does not say that the command was given up")
	}
	if err != nil {
		t.Errorf("%s: %v", answer, err)
	}
	r.waitLogged(t, "provisioner-0", x, "waits")
	rt := r.shown(t, "waits", shows("starting", "not found"))
	const while, most = 15 * time.Second, 4 // the start's, and reconciles' after 4 s, 5 s and 10 s more
	<-time.After(while)
	dead, err := js.Stream(t.Context(), contract.DeadStream)
	if err != nil {
		t.Fatal(err)
	}
	if n := dead.CachedInfo().State.Msgs; n < 1 || n > most {
		t.Errorf("%d commands were given up by %s after the first, want 1 to %d", n, while, most)
	}
	giveBack()
	if got := waitStatus(t, r.api(0), "waits", "running"); got.RuntimeID != rt.RuntimeID {
		t.Errorf("it came as %s, want %s", got.RuntimeID, rt.RuntimeID)
	}
	r.waitDrained(t, js)
	if now := r.pid(t, "provisioner-0"); now != pid {
		t.Error("the provisioner was restarted or died")
	}
}

// wantStarting wants the answer of a start that has a record and no pod, after all of
// its time.
func wantStarting(answer client.Answer) error {
	const deadline = 8 * time.Second
	var rt client.Runtime
	if err := answer.Decode(&rt); err != nil {
		return err
	}
	if rt.Status != "starting" || rt.PodStatus != "not found" || answer.Took < deadline {
		return errors.New("want starting, not found, and not before the deadline")
	}
	return nil
}

// isRefused wants a start refused for good, not given up, with these words, and that
// nobody knows of it afterwards.
func (r *rig) isRefused(t *testing.T, session, words string) {
	t.Helper()
	answer, err := r.api(0).Do(t.Context(), client.Request{Method: http.MethodPost, Path: "/start", Body: body(t, session)})
	if err != nil {
		t.Fatal(err)
	}
	if err := answer.Problem(http.StatusForbidden); err != nil || !strings.Contains(string(answer.Body), words) {
		t.Errorf("%v; after %s: %s; want 403 and %q", err, answer.Took, answer.Body, words)
	}
	for _, api := range r.apis() {
		waitEnded(t, api, session)
	}
}

// forbid lets no pod into the sandboxes' namespace, until allow.
func (r *rig) forbid(t *testing.T, words string) (allow func()) {
	t.Helper()
	ctx, api, name := context.WithoutCancel(t.Context()), bed.kube.AdmissionregistrationV1(), r.SandboxNamespace
	policy := &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: r.SandboxNamespace}},
				ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Create},
					Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
				}}},
			},
			Validations: []admissionv1.Validation{{Expression: "false", Message: words}},
		},
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
		},
	}
	allow = func() {
		for _, err := range []error{
			api.ValidatingAdmissionPolicyBindings().Delete(ctx, name, metav1.DeleteOptions{}),
			api.ValidatingAdmissionPolicies().Delete(ctx, name, metav1.DeleteOptions{}),
		} {
			if err != nil && !apierrors.IsNotFound(err) {
				t.Errorf("the policy stays: %v", err)
			}
		}
	}
	t.Cleanup(allow)
	if _, err := api.ValidatingAdmissionPolicies().Create(ctx, policy, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := api.ValidatingAdmissionPolicyBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	probe := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "probe-"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "probe", Image: bed.image}}},
	}
	waitFor(t, "the policy is in force", func(ctx context.Context) (string, bool) {
		_, err := bed.kube.CoreV1().Pods(r.SandboxNamespace).Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return errorText(err), err != nil && strings.Contains(err.Error(), words)
	})
	return allow
}

// keepRights keeps the bindings of a namespace that is deleted until release; else
// they might be the first of what goes.
func (r *rig) keepRights(t *testing.T) (release func()) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	rbac := bed.kube.RbacV1()
	patch := func(finalizers string) (errs []error) {
		body, o := []byte(`{"metadata":{"finalizers":`+finalizers+`}}`), metav1.PatchOptions{}
		bindings, err := rbac.RoleBindings(r.SandboxNamespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return []error{err}
		}
		for _, b := range bindings.Items {
			_, err := rbac.RoleBindings(r.SandboxNamespace).Patch(ctx, b.Name, types.MergePatchType, body, o)
			errs = append(errs, err)
		}
		roles, err := rbac.Roles(r.SandboxNamespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return append(errs, err)
		}
		for _, role := range roles.Items {
			_, err := rbac.Roles(r.SandboxNamespace).Patch(ctx, role.Name, types.MergePatchType, body, o)
			errs = append(errs, err)
		}
		return errs
	}
	give := func(finalizers string) {
		for _, err := range patch(finalizers) {
			if err != nil && !apierrors.IsNotFound(err) {
				t.Errorf("the finalizers of the rights: %v", err)
			}
		}
	}
	release = func() { give("null") }
	t.Cleanup(release)
	give(`["sandbar.io/held-by-a-test"]`)
	return release
}
