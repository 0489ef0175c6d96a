//go:build system

package system_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sandbar-io/sandbar/tools/devstack/stack"
)

// right is one verb on one resource that a Role gives. Its text is that of what
// the API server says when it is missing.
type right struct{ role, verb, resource string }

func (x right) String() string { return fmt.Sprintf("cannot %s resource %q", x.verb, x.resource) }

// TestEachRightIsNeeded takes each right of each Role away, does what needs it,
// and waits until the service names it. Given back, all goes on, in the same
// process.
func TestEachRightIsNeeded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ role, mode string }{
		{"provisioner", "ingress"}, {"watcher", "ingress"}, {"provisioner", "gateway-api"}, {"watcher", "gateway-api"},
	} {
		role := c.role
		t.Run(role+" "+c.mode, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "rights-"+role, stack.Options{Settings: []string{
				"ROUTING_MODE=" + c.mode, "GATEWAY_NAME=none", "ROUTE_CHECK=false", "RESYNC=2s", noPurge,
				"LEASE_DURATION=2s", "LEASE_RENEW=1500ms", "LEASE_RETRY=300ms", // a killed watcher's lease must end
			}})
			uses := r.provisionerUses()
			if role == "watcher" {
				uses = r.watcherUses()
			}
			maps.DeleteFunc(uses, func(x right, _ use) bool { return !neededIn(c.mode, x) })
			given := slices.DeleteFunc(r.given(t, role), func(x right) bool { return !neededIn(c.mode, x) })
			for _, x := range given {
				if uses[x] == nil {
					t.Errorf("%s: nothing is known that needs it: take it out of deploy/, or add a use here", x)
				}
			}
			for x := range uses {
				if !slices.Contains(given, x) {
					t.Errorf("%s: the Role does not give it", x)
				}
			}
			for _, x := range given {
				if use := uses[x]; use != nil {
					t.Run(x.verb+" "+x.resource, func(t *testing.T) { use(t, x) })
				}
			}
		})
	}
}

// neededIn reports whether a right is looked at in a routing mode: with
// gateway-api only what that one alone needs.
func neededIn(mode string, x right) bool {
	if mode == "gateway-api" {
		return x.resource == "httproutes"
	}
	return x.resource != "httproutes"
}

// TestGatewayAndRouterHaveNoRight: nothing binds them, and they have no token.
func TestGatewayAndRouterHaveNoRight(t *testing.T) {
	t.Parallel()
	r := newRig(t, "no-rights", stack.Options{})
	for _, name := range []string{"gateway-0", "router-0"} {
		for _, e := range r.Services[name].Env {
			if strings.HasPrefix(e, "KUBECONFIG=") {
				t.Errorf("%s was given a kubeconfig", name)
			}
		}
	}
	for _, ns := range []string{r.SystemNamespace, r.SandboxNamespace} {
		bindings, err := bed.kube.RbacV1().RoleBindings(ns).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range bindings.Items {
			for _, s := range b.Subjects {
				if s.Name != "provisioner" && s.Name != "watcher" {
					t.Errorf("RoleBinding %s binds %s %s", b.Name, s.Kind, s.Name)
				}
			}
		}
		for _, account := range []string{"gateway", "router", "default"} {
			for _, x := range append(r.given(t, "provisioner"), r.given(t, "watcher")...) {
				if r.allowed(t, account, ns, x) {
					t.Errorf("%s may %s %s in %s", account, x.verb, x.resource, ns)
				}
			}
		}
	}
}

// rolesOf lists the Roles of a service account, by namespace.
func (r *rig) rolesOf(account string) map[string][2]string {
	all := map[string][2]string{account: {r.SandboxNamespace, account}}
	if account == "watcher" {
		all["watcher-lease"] = [2]string{r.SystemNamespace, "watcher-lease"}
	}
	return all
}

// given lists all rights of a service account, in order.
func (r *rig) given(t *testing.T, account string) (all []right) {
	t.Helper()
	roles := r.rolesOf(account)
	for _, name := range slices.Sorted(maps.Keys(roles)) {
		role, err := bed.kube.RbacV1().Roles(roles[name][0]).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, rule := range role.Rules {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					all = append(all, right{name, verb, resource})
				}
			}
		}
	}
	return all
}

// without takes a right away, and waits until the API server decides so; the
// returned function gives it back.
func (r *rig) without(t *testing.T, account string, x right) (giveBack func()) {
	t.Helper()
	ns := r.rolesOf(account)[x.role][0]
	api := bed.kube.RbacV1().Roles(ns)
	role, err := api.Get(t.Context(), x.role, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	whole := role.DeepCopy()
	role.Rules = reduced(role.Rules, x)
	if _, err := api.Update(t.Context(), role, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, fmt.Sprintf("%s: %s", account, x), func(context.Context) (string, bool) {
		return "it is still allowed", !r.allowed(t, account, ns, x)
	})
	whole.ResourceVersion = ""
	giveBack = sync.OnceFunc(func() {
		if _, err := api.Update(context.WithoutCancel(t.Context()), whole, metav1.UpdateOptions{}); err != nil {
			t.Errorf("give the right to %s back: %v", x, err)
		}
	})
	t.Cleanup(giveBack)
	return giveBack
}

// reduced is the rules without one right: a rule for each resource.
func reduced(rules []rbacv1.PolicyRule, x right) (out []rbacv1.PolicyRule) {
	for _, rule := range rules {
		for _, resource := range rule.Resources {
			one := rule
			one.Resources, one.Verbs = []string{resource}, slices.Clone(rule.Verbs)
			if resource == x.resource {
				one.Verbs = slices.DeleteFunc(one.Verbs, func(v string) bool { return v == x.verb })
			}
			if len(one.Verbs) > 0 {
				out = append(out, one)
			}
		}
	}
	return out
}

// allowed asks the API server itself.
func (r *rig) allowed(t *testing.T, account, ns string, x right) bool {
	t.Helper()
	resource, sub, _ := strings.Cut(x.resource, "/")
	group, name := "", ""
	switch resource {
	case "ingresses":
		group = "networking.k8s.io"
	case "httproutes":
		group = "gateway.networking.k8s.io"
	case "leases":
		group = "coordination.k8s.io"
		if x.verb != "create" {
			name = "sandbar-watcher"
		}
	}
	review, err := bed.kube.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: "system:serviceaccount:" + r.SystemNamespace + ":" + account,
			Groups: []string{
				"system:serviceaccounts", "system:serviceaccounts:" + r.SystemNamespace, "system:authenticated",
			},
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: ns, Verb: x.verb, Group: group, Resource: resource, Subresource: sub, Name: name,
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return review.Status.Allowed
}
