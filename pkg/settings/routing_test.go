package settings_test

import (
	"strings"
	"testing"

	"github.com/sandbar-io/sandbar/pkg/settings"
)

func TestRouting(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		mode, urls   string
		byController bool
		problem      string
	}{
		"router":               {"router", "subdomain", false, ""},
		"router, by path":      {"router", "path", false, ""},
		"ingress":              {"ingress", "subdomain", true, ""},
		"gateway-api":          {"gateway-api", "subdomain", true, ""},
		"ingress, by path":     {"ingress", "path", true, "RUNTIME_ROUTING_MODE must be subdomain"},
		"gateway-api, by path": {"gateway-api", "path", true, "RUNTIME_ROUTING_MODE must be subdomain"},
		"another":              {"gateway", "subdomain", true, `ROUTING_MODE is "gateway"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := settings.Routing{Mode: c.mode}
			err := r.Validate(settings.URL{RoutingMode: c.urls})
			if (err == nil) != (c.problem == "") || err != nil && !strings.Contains(err.Error(), c.problem) {
				t.Errorf("%v, want %q", err, c.problem)
			}
			if r.ByController() != c.byController || r.Verify() {
				t.Errorf("by a controller: %t, verified without being asked for: %t", r.ByController(), r.Verify())
			}
			if r.Check = true; r.Verify() != c.byController {
				t.Errorf("verified: %t", r.Verify())
			}
		})
	}
}
