package deploycheck_test

import (
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
)

// All rights in Kubernetes, one a line: who, where, what. Whoever changes a Role
// changes this table too, and sees what he does.
const rights = `
provisioner sandbar-sandboxes create httproutes.gateway.networking.k8s.io
provisioner sandbar-sandboxes create ingresses.networking.k8s.io
provisioner sandbar-sandboxes create persistentvolumeclaims
provisioner sandbar-sandboxes create pods
provisioner sandbar-sandboxes create secrets
provisioner sandbar-sandboxes create services
provisioner sandbar-sandboxes delete httproutes.gateway.networking.k8s.io
provisioner sandbar-sandboxes delete ingresses.networking.k8s.io
provisioner sandbar-sandboxes delete persistentvolumeclaims
provisioner sandbar-sandboxes delete pods
provisioner sandbar-sandboxes delete secrets
provisioner sandbar-sandboxes delete services
provisioner sandbar-sandboxes get httproutes.gateway.networking.k8s.io
provisioner sandbar-sandboxes get ingresses.networking.k8s.io
provisioner sandbar-sandboxes get persistentvolumeclaims
provisioner sandbar-sandboxes get pods
provisioner sandbar-sandboxes get secrets
provisioner sandbar-sandboxes get services
provisioner sandbar-sandboxes list httproutes.gateway.networking.k8s.io
provisioner sandbar-sandboxes list ingresses.networking.k8s.io
provisioner sandbar-sandboxes list persistentvolumeclaims
provisioner sandbar-sandboxes list pods
provisioner sandbar-sandboxes list services
provisioner sandbar-sandboxes patch secrets
watcher sandbar-sandboxes get pods/log
watcher sandbar-sandboxes get secrets
watcher sandbar-sandboxes list httproutes.gateway.networking.k8s.io
watcher sandbar-sandboxes list ingresses.networking.k8s.io
watcher sandbar-sandboxes list persistentvolumeclaims
watcher sandbar-sandboxes list pods
watcher sandbar-sandboxes list secrets
watcher sandbar-sandboxes list services
watcher sandbar-sandboxes watch pods
watcher sandbar-sandboxes watch secrets
watcher sandbar-system create leases.coordination.k8s.io
watcher sandbar-system get leases.coordination.k8s.io sandbar-watcher
watcher sandbar-system update leases.coordination.k8s.io sandbar-watcher
`

func TestRightsAreExactlyThese(t *testing.T) {
	t.Parallel()
	all := load(t)
	roles := map[string]*rbacv1.Role{}
	for _, r := range of[*rbacv1.Role](all) {
		roles[r.Namespace+"/"+r.Name] = r
	}
	var got []string
	for _, b := range of[*rbacv1.RoleBinding](all) {
		role := roles[b.Namespace+"/"+b.RoleRef.Name]
		if b.RoleRef.Kind != "Role" || role == nil {
			t.Fatalf("%s/%s is bound to %s %q", b.Namespace, b.Name, b.RoleRef.Kind, b.RoleRef.Name)
		}
		delete(roles, b.Namespace+"/"+b.RoleRef.Name)
		for _, s := range b.Subjects {
			if s.Kind != rbacv1.ServiceAccountKind || s.Namespace != systemNS {
				t.Fatalf("%s/%s binds %s %s/%s", b.Namespace, b.Name, s.Kind, s.Namespace, s.Name)
			}
			got = append(got, list(s.Name, role)...)
		}
	}
	for name := range roles {
		t.Errorf("Role %s is bound to nobody", name)
	}
	slices.Sort(got)
	want := strings.Split(strings.TrimSpace(rights), "\n")
	for _, r := range got {
		if !slices.Contains(want, r) {
			t.Errorf("a right too many: %s", r)
		}
	}
	for _, r := range want {
		if !slices.Contains(got, r) {
			t.Errorf("a right is missing: %s", r)
		}
	}
}

// list writes a Role's rules as lines of the table.
func list(account string, role *rbacv1.Role) []string {
	var out []string
	for _, rule := range role.Rules {
		names := rule.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				if group != "" {
					resource += "." + group
				}
				for _, verb := range rule.Verbs {
					for _, name := range names {
						out = append(out, strings.TrimSpace(account+" "+role.Namespace+" "+verb+" "+resource+" "+name))
					}
				}
			}
		}
	}
	return out
}

// Rights reach no further than a namespace; a pod has a token only if it has
// rights.
func TestNoClusterRightsAndNoSpareTokens(t *testing.T) {
	t.Parallel()
	all := load(t)
	if n := len(of[*rbacv1.ClusterRole](all)) + len(of[*rbacv1.ClusterRoleBinding](all)); n > 0 {
		t.Errorf("%d cluster-wide rights", n)
	}
	bound := map[string]bool{}
	for _, b := range of[*rbacv1.RoleBinding](all) {
		for _, s := range b.Subjects {
			bound[s.Name] = true
		}
	}
	for _, name := range []string{"gateway", "router", "nats"} {
		if bound[name] {
			t.Errorf("%s has rights in Kubernetes", name)
		}
	}
	for _, w := range workloads(all) {
		if mount := w.pod.Spec.AutomountServiceAccountToken; mount == nil || *mount != bound[w.pod.Spec.ServiceAccountName] {
			t.Errorf("%s: automountServiceAccountToken and rights do not go together", w.name)
		}
	}
}
